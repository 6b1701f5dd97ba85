import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, request as http } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { buildApp } from '../../src/app.js';
import { loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { freePort } from '../../src/queue/private-redis.js';
import { Transfers } from '../../worker/pipeline/transfer.js';
import { startApp, temporaryFolder, upload } from '../helpers/app.js';
import { until } from '../helpers/redis.js';
import { encoded, picture, tone } from '../helpers/samples.js';

const token = 'a-token-of-sixteen-or-more';
const image = { role: 'ref_image_id', maxBytes: 1e6, types: ['image/'] };
const forever = new AbortController().signal;

void t.test('transfers', async (t) => {
  const { url, config, files } = await startApp(t, { API_TOKEN: token });
  const folder = await temporaryFolder(t);
  const path = join(folder, 'file');
  const authorization = `Bearer ${token}`;
  const png = await picture();
  const { body } = await upload(url, png, 'a.png', 'file', { authorization });
  const id = body.file_id as string;
  const client = (baseUrl: string, seconds = 20, signal: AbortSignal = forever) =>
    new Transfers(
      { ...config, baseUrl, tasks: { ...config.tasks, transferMs: seconds * 1000 } },
      signal,
    );

  await t.test('down and up, with the token', async (t) => {
    const transfers = client(url);
    await transfers.download(id.toUpperCase(), path, image);
    t.ok((await readFile(path)).equals(png));
    const [film] = encoded(folder, [['film.mp4', ['-map', '0:a', '-map', '1:v']]]);
    const videoId = randomUUID();
    const sent = await transfers.upload(join(folder, 'film.mp4'), 'video.mp4', videoId);
    t.equal(sent, videoId);
    const again = await transfers.upload(join(folder, 'film.mp4'), 'video.mp4', videoId);
    t.equal(again, videoId, 'sent twice, it is there once');
    const back = await fetch(`${url}/api/tempfile/download/${sent}`, {
      headers: { authorization },
    });
    t.ok(Buffer.from(await back.arrayBuffer()).equals(film as Uint8Array));
    t.equal(back.headers.get('content-type'), 'video/mp4');
    await transfers.delete(sent);
    t.same(await files(), [id]);
    const user = randomUUID();
    await transfers.upload(join(folder, 'film.mp4'), 'video.mp4', videoId, user);
    const record = await readFile(join(config.tempFiles.folder, videoId, 'meta.json'), 'utf8');
    t.match(JSON.parse(record), { user }, "the account's, where it has one");
    await transfers.delete(videoId);
  });

  await t.test('refusals are final and have a code', async (t) => {
    const transfers = client(url);
    const { body: sound } = await upload(url, tone(0.1), 'a', 'file', { authorization });
    await t.rejects(transfers.download(sound.file_id as string, path, image), {
      code: 'TASK_FILE_WRONG_TYPE',
    });
    await t.rejects(transfers.download(id.replace(/^......../, '00000000'), path, image), {
      code: 'TASK_FILE_NOT_FOUND',
    });
    await t.rejects(transfers.download(id, path, { ...image, maxBytes: 10 }), {
      code: 'FILE_TOO_LARGE',
    });
    await writeFile(path, 'no video at all');
    await t.rejects(transfers.upload(path, 'v.mp4', randomUUID()), {
      code: 'TASK_UPLOAD_FAILED',
      message: /415/,
    });
    await t.rejects(
      new Transfers({ ...config, baseUrl: url, apiToken: undefined }, forever).download(
        id,
        path,
        image,
      ),
      {
        code: 'TASK_DOWNLOAD_FAILED',
        message: /401/,
      },
    );
  });

  await t.test('an API that is away is waited for, within limits', async (t) => {
    const port = await freePort();
    const base = `http://127.0.0.1:${port}`;
    await t.rejects(client(base, 1).download(id, path, image), {
      code: 'TASK_DOWNLOAD_FAILED',
      message: /ECONNREFUSED/,
    });
    const waiting = client(base).download(id, path, image);
    const later = await buildApp({
      config: loadConfig({ DATA_DIR: config.dataFolder, API_TOKEN: token }),
      log: createLog('silent'),
    });
    t.teardown(() => later.close());
    await later.listen({ host: '127.0.0.1', port });
    await waiting;
    t.ok((await readFile(path)).equals(png));
  });

  await t.test('a server that hangs, fails or cuts the line', async (t) => {
    let mode = 'hang';
    const server = createServer((_request, response) => {
      if (mode === 'hang') return;
      if (mode === 'fail') return void response.writeHead(503).end('busy');
      response.writeHead(200, { 'content-type': 'image/png', 'content-length': '1000' });
      response.write('abc', () => response.destroy());
    });
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    const base = `http://127.0.0.1:${port}`;
    for (mode of ['hang', 'fail', 'cut']) {
      await t.rejects(
        client(base, 1).download(id, path, image),
        { code: 'TASK_DOWNLOAD_FAILED' },
        mode,
      );
    }
    mode = 'hang';
    const stop = new AbortController();
    const stopped = client(base, 20, stop.signal).download(id, path, image);
    setTimeout(() => stop.abort(new Error('stopped')), 50);
    await t.rejects(stopped, { message: 'stopped' });
  });

  await t.test('a download that is aborted ends, however far it came', async (t) => {
    let sent: () => void = () => undefined;
    const server = createServer((_request, response) => {
      response.on('finish', () => sent());
      response.writeHead(200, { 'content-type': 'image/png' }).end(Buffer.alloc(60_000));
    });
    t.teardown(() => server.close());
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    let aborted = 0;
    for (let turns = 0; turns < 60; turns++) {
      const stop = new AbortController();
      sent = () => {
        let left = turns;
        const wait = () => (left-- > 0 ? setImmediate(wait) : stop.abort(new Error('cancelled')));
        wait();
      };
      const download = client(`http://127.0.0.1:${port}`, 20, stop.signal).download(
        ...([id, path, image] as const),
      );
      await download.catch((error: Error) => {
        t.equal(error.message, 'cancelled');
        aborted++;
      });
    }
    t.ok(aborted > 0);
  });

  await t.test('an upload that is aborted leaves no video, however far it came', async (t) => {
    encoded(folder, [['film.mp4', ['-map', '0:a', '-map', '1:v']]]);
    const film = join(folder, 'film.mp4');
    const before = await files();
    // In front of the real server: tells how far an upload has come, and holds its answer back.
    const stages = ['begun', 'sent', 'stored'] as const;
    let reached: (stage: (typeof stages)[number]) => void = () => undefined;
    const server = createServer((request, response) => {
      const forward = http(`${url}${request.url}`, { method: request.method });
      for (const [name, value] of Object.entries(request.headers)) {
        forward.setHeader(name, value as string);
      }
      reached('begun');
      request.pipe(forward);
      request.on('end', () => reached('sent'));
      request.on('close', () => {
        if (!request.complete) forward.destroy();
      });
      forward.on('error', () => response.destroy());
      forward.on('response', (answer) => {
        reached('stored');
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        setImmediate(() => answer.pipe(response));
      });
    });
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    for (let round = 0; round < 30; round++) {
      const stop = new AbortController();
      reached = (stage) => {
        if (stage === stages[round % 3]) stop.abort(new Error('cancelled'));
      };
      const transfers = client(`http://127.0.0.1:${port}`, 20, stop.signal);
      await t.rejects(transfers.upload(film, 'video.mp4', randomUUID()), { message: 'cancelled' });
    }
    await until(async () => (await files()).length <= before.length, 'nothing stays');
    t.same(new Set(await files()), new Set(before));
  });
});
