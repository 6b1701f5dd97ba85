import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, type Socket, createServer as createTcpServer } from 'node:net';
import t from 'tap';
import { S3Shelf } from '../../src/tempfile/s3.js';
import { startApp, upload } from '../helpers/app.js';
import { picture, tone } from '../helpers/samples.js';
import { startS3, storedObjects } from '../helpers/stores.js';

void t.test('a bucket that is away is told, and used again when it is back', async (t) => {
  const server = await startS3(t);
  const settings = server.settings();
  const { url } = await startApp(t, settings);
  const { body } = await upload(url, tone(0.1));
  const file = `${url}/api/tempfile/download/${body.file_id}`;
  await server.stop();
  const away = { status: 503, body: { success: false, code: 'STORAGE_UNAVAILABLE' } };
  const answer = await upload(url, await picture());
  t.match(answer, away);
  t.notMatch(answer.body.message, /S3RVER/, 'keys are not told');
  const download = await fetch(file);
  t.equal(download.status, 503);
  t.match(await download.json(), away.body);
  await t.rejects(
    startApp(t, settings),
    { code: 'STORAGE_UNAVAILABLE' },
    'nor does a server start',
  );
});

void t.test('a bucket that is full', async (t) => {
  const full = createServer((request, response) => {
    request.resume().once('end', () => {
      const refused = request.method === 'PUT';
      response.writeHead(refused ? 507 : 200, { 'content-type': 'application/xml' });
      response.end(refused ? '<Error><Code>XMinioStorageFull</Code></Error>' : '');
    });
  });
  t.teardown(() => full.close().closeAllConnections());
  await once(full.listen(0, '127.0.0.1'), 'listening');
  const { port } = full.address() as AddressInfo;
  const { url } = await startApp(t, {
    ...{ TEMP_FILE_STORE: 's3://bucket', S3_ENDPOINT: `http://127.0.0.1:${port}` },
    ...{ S3_ACCESS_KEY_ID: 'id', S3_SECRET_ACCESS_KEY: 'key', TEMP_FILE_EXPIRY: '1000' },
  });
  t.match(await upload(url, tone(0.1)), { status: 507, body: { code: 'STORAGE_FULL' } });
});

void t.test('a file is a record that names its bytes', async (t) => {
  const server = await startS3(t);
  const { url, config } = await startApp(t, server.settings('a/prefix'));
  const { body } = await upload(url, tone(0.1));
  const s3 = config.tempFiles.s3 as NonNullable<typeof config.tempFiles.s3>;
  const [data, meta] = (await storedObjects(s3)).sort();
  t.match(data, new RegExp(`^a/prefix/${body.file_id}/[-0-9a-f]{36}\\.data$`));
  t.equal(meta, `a/prefix/${body.file_id}/meta.json`);
});

void t.test('a bucket that falls silent is away', async (t) => {
  let answer = '';
  const lines = new Set<Socket>();
  const silent = createTcpServer((line) => {
    lines.add(line.on('error', () => undefined).on('data', () => line.write(answer)));
  });
  t.teardown(() => {
    silent.close();
    for (const line of lines) line.destroy();
  });
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  const { port } = silent.address() as AddressInfo;
  const shelf = new S3Shelf({
    ...{ bucket: 'bucket', prefix: '', region: 'us-east-1', pathStyle: true },
    ...{ endpoint: `http://127.0.0.1:${port}`, sweepAfterMs: 0, silentMs: 200 },
    credentials: { accessKeyId: 'id', secretAccessKey: 'key' },
  });
  t.teardown(() => shelf.close());
  const away = { code: 'STORAGE_UNAVAILABLE', message: /TimeoutError/ };
  await t.rejects(shelf.record(randomUUID()), away, 'before it answers');
  answer = 'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{';
  await t.rejects(shelf.record(randomUUID()), away, 'in the middle of its answer');
});
