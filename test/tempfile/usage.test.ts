import t, { type Test } from 'tap';
import { ownerOf } from '../../src/limit/rates.js';
import { connectRedis } from '../../src/queue/redis.js';
import { createLog } from '../../src/log.js';
import { StorageUse } from '../../src/tempfile/usage.js';
import { startApp, upload } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { startRedis, until } from '../helpers/redis.js';
import { tone } from '../helpers/samples.js';
import { RawLine } from '../limit/raw-line.js';

const MiB = 1024 * 1024;
const limits = { limits: { storageBytesPerUser: MiB } as never };
const refused = { code: 'STORAGE_QUOTA_EXCEEDED', status: 429 };
const ann = ownerOf({ id: 'ann' }, '192.0.2.1');
const bob = ownerOf({ id: 'bob' }, '192.0.2.1');
const soon = () => Date.now() + 60_000;

void t.test('bytes are counted for each owner, in Redis and without it', async (t) => {
  const running = await startRedis(t);
  const redis = connectRedis(running.config(), createLog('silent'));
  t.teardown(() => redis.disconnect());
  await redis.ping();
  await counts(t, new StorageUse(limits, redis), new StorageUse(limits, redis));
  t.same(await running.client.keys('storage_*'), [], 'nothing is left of files that are gone');
  const alone = new StorageUse(limits);
  await counts(t, alone, alone);

  const use = new StorageUse(limits, redis);
  await running.server.stop();
  await until(() => redis.status !== 'ready', 'Redis is away');
  await use.add(ann, { id: 'a', bytes: MiB, expiresAt: soon() });
  await t.rejects(use.add(ann, { id: 'b', bytes: 1, expiresAt: soon() }), refused);
});

async function counts(t: Test, one: StorageUse, two: StorageUse): Promise<void> {
  await one.check(ann, MiB);
  await t.rejects(one.check(ann, MiB + 1), refused);
  await one.add(ann, { id: 'a', bytes: MiB - 10, expiresAt: soon() });
  await two.add(ann, { id: 'a', bytes: MiB - 10, expiresAt: soon() });
  await t.rejects(two.add(ann, { id: 'b', bytes: 11, expiresAt: soon() }), refused);
  await two.add(bob, { id: 'c', bytes: MiB, expiresAt: soon() });
  await two.add(ann, { id: 'd', bytes: 10, expiresAt: Date.now() + 100 });
  await t.rejects(one.check(ann, 1), refused);
  await until(
    () =>
      one.check(ann, 10).then(
        () => true,
        () => false,
      ),
    'd expires',
  );
  await one.add(ann, { id: 'e', bytes: MiB, expiresAt: soon() }, { isThere: true });
  await t.rejects(two.check(ann, 1), refused);
  await two.remove(['a', 'c', 'd', 'e', 'unknown']);
  await one.add(ann, { id: 'f', bytes: MiB, expiresAt: soon() });
  await one.remove(['f']);
}

void t.test('uploads stop at the limit and go on when something is deleted', async (t) => {
  const { url, files } = await startApp(t, { STORAGE_PER_USER_MB: '1' });
  const { token } = await Client.register(url);
  const mine = { authorization: `Bearer ${token}` };
  const sound = tone(20);
  const first = await upload(url, sound, 'a.wav', 'file', mine);
  const over = await upload(url, sound, 'a.wav', 'file', mine);
  t.match(over, { status: 429, body: { code: 'STORAGE_QUOTA_EXCEEDED', message: /1 MiB/ } });
  t.equal((await files()).length, 1, 'nothing of it stays');
  t.equal((await upload(url, sound, 'a.wav')).status, 200, 'an address has its own count');
  await new Client(url).post('/api/tempfile/batch-delete', { file_ids: [first.body.file_id] });
  t.equal((await upload(url, sound, 'a.wav', 'file', mine)).status, 200);
});

void t.test('an address has so many uploads at a time', async (t) => {
  const { url } = await startApp(t, { UPLOADS_PER_ADDRESS: '1' });
  const slow = await RawLine.open(t, url);
  slow.send(
    'POST /api/tempfile/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n' +
      'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n',
  );
  let answer = await upload(url, tone(0.1));
  await until(async () => (answer = await upload(url, tone(0.1))).status === 429, 'it is counted');
  t.match(answer.body, { code: 'TOO_MANY_UPLOADS' });
  slow.socket.destroy();
  await until(async () => (await upload(url, tone(0.1))).status === 200, 'there is room again');
});
