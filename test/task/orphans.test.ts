import { readdir } from 'node:fs/promises';
import t from 'tap';
import { createLog } from '../../src/log.js';
import { Recovery } from '../../src/queue/recovery.js';
import { connectRedis } from '../../src/queue/redis.js';
import { Orphans } from '../../src/task/orphans.js';
import { openTempFiles } from '../../src/tempfile/open.js';
import { startRedis, taskJson } from '../helpers/redis.js';
import { tone } from '../helpers/samples.js';
import { openTasks, openWorker, takeAndClaim } from '../helpers/tasks.js';

void t.test('of an attempt that did not complete its task, no video stays', async (t) => {
  const redis = await startRedis(t);
  const config = redis.config({ TRANSFER_TIMEOUT_SECONDS: '1' });
  const log = createLog('silent');
  const connection = connectRedis(config, log);
  t.teardown(() => connection.disconnect());
  const recovery = new Recovery(connection, config, log);
  const store = await openTempFiles(config);
  const orphans = new Orphans(connection, store, config, log);
  const { tasks } = await openTasks(t, redis);
  const upload = (id: string) =>
    store.save(
      (async function* () {
        yield tone(0.1);
      })(),
      'video.mp4',
      { id },
    );
  const begin = async (taskId: string) => {
    await redis.client.rpush('task_queue_gpu_0', taskJson(taskId));
    const worker = await openWorker(t, redis);
    return { worker, claim: await takeAndClaim(worker) };
  };
  const stored = () => readdir(config.tempFiles.folder);

  const first = await begin('a');
  await upload(first.claim.videoId);
  first.worker.disconnect();
  await recovery.workerDied(0, first.worker.worker);
  const second = await openWorker(t, redis);
  const claim = await takeAndClaim(second);
  t.not(claim.videoId, first.claim.videoId);
  await upload(claim.videoId);
  await second.complete(claim, claim.videoId);
  await orphans.look();
  t.same(await stored(), [claim.videoId], 'that of the dead worker is gone, the other is not');

  await second.close();
  await redis.client.rpush('task_queue_gpu_0', taskJson('a', { seed: 2 }));
  const third = await openWorker(t, redis);
  const again = await takeAndClaim(third);
  await orphans.look();
  t.same(await stored(), [claim.videoId], 'a later task of that id leaves it alone');

  await upload(again.videoId);
  await tasks.cancel('a');
  t.notOk(await third.complete(again, again.videoId));
  t.equal(await redis.client.zscore('task_orphans', again.videoId), null, 'not before its end');
  await third.handBack(again);
  await orphans.look();
  t.same(await stored(), [claim.videoId], 'nor does a cancelled one leave any');

  const late = await begin('late');
  await late.worker.handBack(late.claim);
  await orphans.look();
  await upload(late.claim.videoId);
  await orphans.look();
  t.same(await stored(), [claim.videoId], 'what arrives late goes too');

  t.equal(await redis.client.zcard('task_orphans'), 0, 'what is gone is not looked for');
  await redis.client.zadd('task_orphans', Date.now() / 1000 - 1000, late.claim.videoId);
  await orphans.look();
  t.equal(await redis.client.zcard('task_orphans'), 0, 'nor what never came');
});
