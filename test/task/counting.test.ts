import t from 'tap';
import { CodedError } from '../../src/errors.js';
import { keys, workerKeyHeader } from '../../src/queue/keys.js';
import { startApi } from '../helpers/api.js';
import { temporaryFolder, upload } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { startRedis, until } from '../helpers/redis.js';
import { picture, tone } from '../helpers/samples.js';
import { device, openWorker, takeAndClaim } from '../helpers/tasks.js';

void t.test('what tasks made is counted when the API that took them was killed', async (t) => {
  const redis = await startRedis(t);
  const settings = { DATA_DIR: await temporaryFolder(t), AUTH: 'required' };
  const worker = await openWorker(t, redis, 0, {}, device);
  const first = await startApi(t, redis, settings);
  const ann = await Client.register(first.url, 'ann');
  const store = async (content: Uint8Array<ArrayBuffer>, headers?: Record<string, string>) =>
    (await upload(first.url, content, 'file', 'file', headers)).body.file_id as string;
  const image_id = await store(await picture());
  const create = async (seconds: number) => {
    const asked = { image_id, audio_id: await store(tone(seconds)) };
    return (await ann.post<{ task_id: string }>('/api/tasks', asked)).body.task_id;
  };
  const [made, , running] = [await create(0.9), await create(1.9), await create(3.9)];
  const video = await store(await picture(80), {
    [workerKeyHeader]: String(await redis.client.get(keys.workerKey)),
  });
  await first.kill();
  await redis.client.multi().set('task:odd', 'no state').zadd(keys.uncounted, 1, 'odd').exec();

  const claim = await takeAndClaim(worker);
  t.equal(claim.taskId, made);
  await worker.complete(claim, video);
  await worker.fail(await takeAndClaim(worker), 10, new CodedError('INTERNAL', 'broken'));

  const next = new Client((await startApi(t, redis, settings)).url, ann.token);
  const used = async () => {
    const { body } = await next.get<{ usage: { video_seconds: { used: number } } }>(
      '/api/account/usage',
    );
    return body.usage.video_seconds.used;
  };
  const uncounted = () => redis.client.zrange(keys.uncounted, '0', '-1');
  await until(async () => (await uncounted()).length === 2, 'both that ended are counted');
  t.same(await uncounted(), ['odd', running], 'whatever keeps another one from it');
  t.equal(await used(), 1 + 4, 'what failed is given back, what runs stays set aside');
  t.match(await redis.client.get(`storage_owner:${video}`), / user:/, 'the room of the video too');
  await worker.complete(await takeAndClaim(worker), video);
  await until(async () => (await uncounted()).length === 1, 'the last is counted');
  t.equal(await used(), 5);
});
