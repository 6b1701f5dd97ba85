import { readdir } from 'node:fs/promises';
import { StorageUse } from '../../src/tempfile/usage.js';
import t, { type Test } from 'tap';
import { CodedError } from '../../src/errors.js';
import { createLog } from '../../src/log.js';
import { connectRedis } from '../../src/queue/redis.js';
import type { FleetTimes } from '../../src/fleet/fleet.js';
import { Registry } from '../../src/session/core/registry.js';
import { FolderShelf } from '../../src/tempfile/folder.js';
import { TempFileStore } from '../../src/tempfile/store.js';
import { type RunningRedis, startRedis, until } from '../helpers/redis.js';
import { tone } from '../helpers/samples.js';
import { openTasks, openWorker, plainTask, takeAndClaim } from '../helpers/tasks.js';

const log = createLog('silent');

/** A store that cannot delete some files for a while. */
class StubbornStore extends TempFileStore {
  readonly failures = new Map<string, number>();

  override async remove(id: string): Promise<boolean> {
    const left = this.failures.get(id) ?? 0;
    if (left > 0) {
      this.failures.set(id, left - 1);
      throw new Error('the disk is away');
    }
    return super.remove(id);
  }
}

interface Setup {
  readonly registry: Registry;
  readonly store: StubbornStore;
  upload(): Promise<string>;
  files(): Promise<string[]>;
}

async function open(
  t: Test,
  redis: RunningRedis,
  hostName: string,
  times: FleetTimes = {},
): Promise<Setup & { tasks: Awaited<ReturnType<typeof openTasks>>['tasks'] }> {
  const config = { ...redis.config(), hostName };
  const connection = connectRedis(config, log);
  t.teardown(() => connection.disconnect());
  const store = new StubbornStore(
    new FolderShelf(config.tempFiles.folder, hostName),
    config.tempFiles,
  );
  await store.open();
  const { tasks } = await openTasks(t, redis);
  const usage = new StorageUse(config, connection);
  const registry = new Registry({ config, log, store, usage, redis: connection, tasks }, times);
  async function* sound() {
    yield tone(0.1);
  }
  return {
    ...{ registry, store, tasks },
    upload: async () => (await store.save(sound(), 'sound.wav')).id,
    files: () => readdir(config.tempFiles.folder),
  };
}

const traces = async (redis: RunningRedis) =>
  (await Promise.all(['file_owner:*', 'session_*', 'live_*'].map((k) => redis.client.keys(k))))
    .flat()
    .filter((key) => key !== 'session_processes');

t.test('a file belongs to the first session that names it', async (t) => {
  const redis = await startRedis(t);
  const { registry, upload, files } = await open(t, redis, 'here');
  const [one, other] = [await registry.add('one'), await registry.add('other')];
  const id = await upload();
  t.equal((await one.use(id, ['audio'])).id, id);
  t.equal((await one.use(id, ['audio'])).id, id, 'as often as it likes');
  await t.rejects(other.use(id, ['audio']), { code: 'FILE_NOT_FOUND' });
  await t.rejects(one.use(await upload(), ['image']), { code: 'FILE_TYPE_UNSUPPORTED' });
  await t.rejects(one.use('../secret', ['audio']), { code: 'FILE_NOT_FOUND' });
  await other.remove([id]);
  await other.clear();
  t.equal((await one.use(id, ['audio'])).id, id, 'nobody else deletes it');

  const contested = await upload();
  const third = await registry.add('third');
  const outcomes = await Promise.allSettled(
    [one, third].flatMap((files) => [0, 1, 2].map(() => files.use(contested, ['audio']))),
  );
  t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 3, 'one session wins');

  const own = await one.save(tone(0.1), 'own.wav');
  await t.rejects(third.use(own.id, ['audio']), { code: 'FILE_NOT_FOUND' });
  await one.clear();
  await third.clear();
  t.equal((await files()).length, 1, 'only what no session named is left');
  t.same(await traces(redis), []);
  await t.rejects(one.save(tone(0.1), 'late.wav'), { code: 'SESSION_NOT_CONNECTED' });
});

t.test('what is let go is not deleted', async (t) => {
  const redis = await startRedis(t);
  const { registry, upload } = await open(t, redis, 'here');
  const refused = await registry.add('refused');
  const id = await upload();
  await refused.use(id, ['audio']);
  await refused.letGo();
  const next = await registry.add('next');
  t.equal((await next.use(id, ['audio'])).id, id);
});

t.test('a file that cannot be deleted is tried again', async (t) => {
  const redis = await startRedis(t);
  const { registry, store, files } = await open(t, redis, 'here');
  const session = await registry.add('session');
  const [soon, later] = [
    await session.save(tone(0.1), 'soon.wav'),
    await session.save(tone(0.1), 'later.wav'),
  ];
  store.failures.set(soon.id, 2);
  store.failures.set(later.id, 3);
  await session.clear();
  t.same(await files(), [later.id], 'three attempts at the end of the session');
  await registry.round();
  t.same(await files(), [], 'another one later');
  t.same(await traces(redis), []);
});

t.test('what a silent process held is inherited', async (t) => {
  const redis = await startRedis(t);
  const gone = await open(t, redis, 'there');
  const session = await gone.registry.add('orphan');
  await session.save(tone(0.1), 'orphan.wav');
  await gone.registry.round();
  await openWorker(t, redis);
  await session.addTask('task-of-orphan');
  await gone.tasks.submit({ ...plainTask, taskId: 'task-of-orphan' });

  const heir = await open(t, redis, 'here', { deadMs: 300 });
  await heir.registry.round();
  t.equal((await heir.files()).length, 1, 'it was heard a moment ago');
  await until(async () => {
    await heir.registry.round();
    return (await heir.files()).length === 0;
  }, 'its files are deleted');
  await until(async () => (await traces(redis)).length === 0, 'nothing is left of it');
  t.equal((await heir.tasks.result('task-of-orphan'))?.code, 'TASK_CANCELLED');
  t.same(await redis.client.zrange('session_processes', '0', '-1'), [heir.registry.process]);
  await heir.registry.stop();
  t.same(await redis.client.zrange('session_processes', '0', '-1'), []);
});

t.test('the video of a task that was over before it was cancelled is deleted', async (t) => {
  const redis = await startRedis(t);
  const { registry, tasks, upload, files } = await open(t, redis, 'here');
  const worker = await openWorker(t, redis);
  const session = await registry.add('session');
  for (const taskId of ['done', 'working']) {
    await session.addTask(taskId);
    await tasks.submit({ ...plainTask, taskId });
  }
  const claim = await takeAndClaim(worker);
  await worker.complete(claim, await upload());
  const other = await takeAndClaim(worker);
  t.equal((await files()).length, 1);
  await session.clear();
  await until(async () => (await files()).length === 0, 'the video is deleted');
  t.ok((await traces(redis)).length > 0, 'the other task is not over yet');
  await until(() => other.cancelled.aborted, 'its worker is told');
  await worker.fail(other, 10, new CodedError('TASK_CANCELLED', 'cancelled'));
  await until(async () => (await traces(redis)).length === 0, 'nothing is left');
});
