import { get as httpGet, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { startApp, temporaryFolder, upload } from '../helpers/app.js';
import { places } from '../helpers/stores.js';
import { picture, tone } from '../helpers/samples.js';

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const noSuchId = '550e8400-e29b-41d4-a716-446655440000';

for (const place of await places(t)) {
  void t.test(`on a ${place.name}`, async (t) => {
    const start = (t: Test, settings: Record<string, string> = {}, folder?: string) =>
      startApp(t, { ...place.settings(folder), ...settings }, folder);

    await t.test('an upload answers as the contract says and can be downloaded', async (t) => {
      const { url, files } = await start(t);
      const png = await picture();
      const answer = await upload(url, png, 'C:\\photos\\me "ü".txt');
      t.match(answer, {
        status: 200,
        body: { success: true, file_id: uuid, file_type: 'image', original_name: 'me "ü".txt' },
      });
      t.same(Object.keys(answer.body), ['success', 'file_id', 'file_type', 'original_name']);
      t.same(await files(), [answer.body.file_id]);

      const response = await fetch(`${url}/api/tempfile/download/${answer.body.file_id}`);
      t.equal(response.status, 200);
      t.same(new Uint8Array(await response.arrayBuffer()), png);
      t.equal(response.headers.get('content-type'), 'image/png');
      t.equal(response.headers.get('x-content-type-options'), 'nosniff');
      t.equal(response.headers.get('cache-control'), 'private, no-store');
      t.match(response.headers.get('content-disposition'), /^attachment; .*filename\*=UTF-8''me/);
    });

    await t.test('HEAD, Range and conditional requests', async (t) => {
      const { url } = await start(t);
      const wav = tone(0.5);
      const { body } = await upload(url, wav, 'a.wav');
      const file = `${url}/api/tempfile/download/${body.file_id}`;
      const get = (headers: Record<string, string>, method = 'GET') =>
        fetch(file, { headers, method });

      const head = await get({}, 'HEAD');
      t.equal(head.status, 200);
      t.equal(head.headers.get('content-length'), String(wav.length));
      t.equal((await head.arrayBuffer()).byteLength, 0);

      const part = await get({ range: 'bytes=10-19' });
      t.equal(part.status, 206);
      t.equal(part.headers.get('content-range'), `bytes 10-19/${wav.length}`);
      t.same(new Uint8Array(await part.arrayBuffer()), wav.slice(10, 20));
      const tail = await get({ range: 'bytes=-5' });
      t.equal(tail.status, 206);
      t.same(new Uint8Array(await tail.arrayBuffer()), wav.slice(-5));
      const outside = await get({ range: `bytes=${wav.length}-` });
      t.equal(outside.status, 416);
      t.equal(outside.headers.get('content-range'), `bytes */${wav.length}`);
      t.match(await outside.json(), { success: false, code: 'BAD_REQUEST' });
      const several = await get({ range: 'bytes=0-1,4-5' });
      t.equal(several.status, 200, 'several ranges get the whole file');
      await several.arrayBuffer();

      const etag = head.headers.get('etag') ?? '';
      const conditional = (name: string, value: string) =>
        new Promise<IncomingMessage>((resolve, reject) => {
          // fetch would add Cache-Control: no-cache to a conditional request of its caller.
          httpGet(file, { headers: { [name]: value } }, resolve).on('error', reject);
        });
      for (const [header, value, status] of [
        ['if-none-match', etag, 304],
        ['if-none-match', '"other"', 200],
        ['if-modified-since', head.headers.get('last-modified') ?? '', 304],
        ['if-match', '"other"', 412],
      ] as const) {
        const answer = await conditional(header, value);
        t.equal(answer.statusCode, status, header);
        answer.resume();
      }
      const fresh = await get({ 'if-range': etag, range: 'bytes=0-3' });
      t.equal(fresh.status, 206);
      await fresh.arrayBuffer();
      const stale = await get({ 'if-range': '"other"', range: 'bytes=0-3' });
      t.equal(stale.status, 200);
      await stale.arrayBuffer();
    });

    await t.test('delete and batch-delete', async (t) => {
      const { url, files } = await start(t);
      const ids: string[] = [];
      for (let i = 0; i < 3; i++) {
        ids.push((await upload(url, await picture(8 + i), 'p.png')).body.file_id as string);
      }
      const remove = (id: string) =>
        fetch(`${url}/api/tempfile/delete/${id}`, { method: 'DELETE' });
      const first = await remove(ids[0] as string);
      t.equal(first.status, 200);
      t.match(await first.json(), { success: true, message: String });
      const again = await remove(ids[0] as string);
      t.equal(again.status, 404);
      t.match(await again.json(), { success: false, message: String, code: 'FILE_NOT_FOUND' });

      const batch = (body: unknown) =>
        fetch(`${url}/api/tempfile/batch-delete`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: typeof body === 'string' ? body : JSON.stringify(body),
        });
      const done = await batch({ file_ids: [...ids, ids[1], noSuchId, '../../etc/passwd'] });
      t.equal(done.status, 200);
      t.match(await done.json(), { success: true, message: String, deleted_count: 2 });
      t.same(await files(), []);
      for (const wrong of [{}, { file_ids: 'x' }, { file_ids: [] }, { file_ids: [1] }, '{', '[]']) {
        const response = await batch(wrong);
        t.equal(response.status, 400, JSON.stringify(wrong));
        t.match(await response.json(), { success: false, message: String, code: 'BAD_REQUEST' });
      }
    });

    await t.test('what is not there is 404 in the same shape', async (t) => {
      const { url } = await start(t);
      for (const path of [
        `/api/tempfile/download/${noSuchId}`,
        '/api/tempfile/download/..%2f..%2fetc%2fpasswd',
        '/api/tempfile/download/x',
        `/api/tempfile/download/${noSuchId.toUpperCase()}`,
        '/api/tempfile/nothing',
        '/api/other',
        '/nowhere',
      ]) {
        const response = await fetch(url + path);
        t.equal(response.status, 404, path);
        t.match(await response.json(), { success: false, message: String, code: String });
      }
    });

    await t.test('refused uploads leave nothing', async (t) => {
      const { url, files } = await start(t, {
        MAX_IMAGE_MB: '1',
        MAX_AUDIO_MB: '2',
        MAX_VIDEO_MB: '3',
      });
      const bytes = (size: number, start: Uint8Array) => {
        const content = new Uint8Array(size).fill(7);
        content.set(start);
        return content;
      };
      const MiB = 1024 * 1024;
      const png = (await picture()).slice(0, 60);
      const wav = tone(0.01);
      const refused = async (
        content: Uint8Array<ArrayBuffer>,
        status: number,
        code: string,
        f?: string,
      ) =>
        t.match(await upload(url, content, 'x.png', f), {
          status,
          body: { success: false, message: String, code },
        });
      await refused(new TextEncoder().encode('just text'), 415, 'FILE_TYPE_UNSUPPORTED');
      await refused(new TextEncoder().encode('<svg xmlns="a"/>'), 415, 'FILE_TYPE_UNSUPPORTED');
      await refused(new TextEncoder().encode('#EXTM3U\nfile:///x'), 415, 'FILE_TYPE_UNSUPPORTED');
      await refused(bytes(200_000, new Uint8Array()), 415, 'FILE_TYPE_UNSUPPORTED');
      await refused(new Uint8Array(), 400, 'FILE_EMPTY');
      await refused(await picture(), 400, 'FILE_MISSING', 'photo');
      await refused(bytes(MiB + 1, png), 413, 'FILE_TOO_LARGE');
      await refused(bytes(2 * MiB + 1, wav), 413, 'FILE_TOO_LARGE');
      await refused(bytes(3 * MiB + 1, wav), 413, 'FILE_TOO_LARGE');
      await refused(bytes(40 * MiB, wav), 413, 'FILE_TOO_LARGE');
      t.same(await files(), []);
      t.equal((await upload(url, bytes(MiB, png))).status, 200, 'the limit itself is allowed');
      t.equal((await upload(url, bytes(2 * MiB, wav))).status, 200);

      for (const [type, body] of [
        ['application/json', '{}'],
        ['multipart/form-data', 'x'],
        ['multipart/form-data; boundary=b', 'not a form'],
        ['multipart/form-data; boundary=b', '--b\r\n\r\n--b--\r\n'],
      ] as const) {
        const response = await fetch(`${url}/api/tempfile/upload`, {
          method: 'POST',
          headers: { 'content-type': type },
          body,
        });
        t.equal(response.status, 400, `${type} ${body}`);
        t.match(await response.json(), { success: false, message: String, code: String });
      }
      const two = new FormData();
      two.append('file', new Blob([await picture()]), 'a.png');
      two.append('file', new Blob([await picture()]), 'b.png');
      const both = await fetch(`${url}/api/tempfile/upload`, { method: 'POST', body: two });
      t.equal(both.status, 413);
      t.match(await both.json(), { success: false, code: 'FORM_TOO_LARGE' });
      t.equal((await files()).length, 2, 'only the two accepted files are there');
    });

    await t.test('an upload of a client that goes away leaves nothing', async (t) => {
      const { url, files } = await start(t);
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      socket.write(
        'POST /api/tempfile/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n' +
          'Content-Type: multipart/form-data; boundary=b\r\n\r\n' +
          '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n',
      );
      socket.write(tone(0.1));
      // a bucket shows nothing before the end
      while (place.name === 'folder' && (await files()).length === 0)
        await new Promise((resolve) => setTimeout(resolve, 5));
      socket.destroy();
      while ((await files()).length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
      t.same(await files(), []);
    });

    await t.test(
      'a slow upload in small pieces arrives whole; a shorter announced one does not',
      async (t) => {
        const { url } = await start(t);
        const wav = tone(0.2);
        const response = await fetch(`${url}/api/tempfile/upload`, {
          method: 'POST',
          headers: { 'content-type': 'multipart/form-data; boundary=b' },
          duplex: 'half',
          body: new ReadableStream({
            async start(controller) {
              const say = (text: string) => controller.enqueue(new TextEncoder().encode(text));
              say('--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n');
              for (let i = 0; i < wav.length; i += 997) {
                controller.enqueue(wav.slice(i, i + 997));
                await new Promise((resolve) => setTimeout(resolve, 2));
              }
              say('\r\n--b--\r\n');
              controller.close();
            },
          }),
        });
        const body = (await response.json()) as { file_id: string };
        const back = await fetch(`${url}/api/tempfile/download/${body.file_id}`);
        t.same(new Uint8Array(await back.arrayBuffer()), wav);

        const cut = await fetch(`${url}/api/tempfile/upload`, {
          method: 'POST',
          headers: { 'content-type': 'multipart/form-data; boundary=b' },
          body: '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF',
        });
        t.equal(cut.status, 400);
        t.match(await cut.json(), { success: false, code: 'BAD_REQUEST' });
      },
    );

    await t.test('a token, when set, is asked for on every route', async (t) => {
      const token = 'a-token-of-sixteen-or-more';
      const { url } = await start(t, { API_TOKEN: token });
      const png = await picture();
      t.match(await upload(url, png), {
        status: 401,
        body: { success: false, code: 'UNAUTHORIZED' },
      });
      const wrong = await upload(url, png, 'a', 'file', { authorization: `Bearer ${token}x` });
      t.equal(wrong.status, 401);
      const authorization = `Bearer ${token}`;
      const { body } = await upload(url, png, 'a', 'file', { authorization });
      const file = `${url}/api/tempfile/download/${body.file_id}`;
      t.equal((await fetch(file)).status, 401);
      const allowed = await fetch(file, { headers: { authorization } });
      t.equal(allowed.status, 200);
      await allowed.arrayBuffer();
      t.equal((await fetch(`${url}/livez`)).status, 200, 'probes stay open');
    });

    await t.test('ids survive a restart; a delete during a download lets it finish', async (t) => {
      const folder = await temporaryFolder(t);
      const before = await start(t, {}, folder);
      const wav = tone(60);
      const { body } = await upload(before.url, wav);
      await before.app.close();
      const { url } = await start(t, {}, folder);
      const response = await fetch(`${url}/api/tempfile/download/${body.file_id}`);
      t.equal(response.status, 200);
      const removed = await fetch(`${url}/api/tempfile/delete/${body.file_id}`, {
        method: 'DELETE',
      });
      t.equal(removed.status, 200);
      t.ok(Buffer.from(await response.arrayBuffer()).equals(wav));
    });

    await t.test('a file under an id of the sender: sent twice, it is there once', async (t) => {
      const { url, files } = await start(t);
      const id = noSuchId;
      const send = (content: Uint8Array<ArrayBuffer>, fileId: string) =>
        fetch(`${url}/api/tempfile/upload?file_id=${fileId}`, {
          method: 'POST',
          body: form(content),
        });
      const form = (content: Uint8Array<ArrayBuffer>) => {
        const body = new FormData();
        body.append('file', new Blob([content]), 'a.wav');
        return body;
      };
      const both = await Promise.all([send(tone(0.1), id), send(tone(0.1), id)]);
      for (const answer of both) {
        t.equal(answer.status, 200);
        t.match(await answer.json(), { success: true, file_id: id });
      }
      const other = await send(tone(0.2), id);
      t.equal(other.status, 409);
      t.match(await other.json(), { success: false, code: 'FILE_EXISTS' });
      const malformed = await send(tone(0.1), '../elsewhere');
      t.equal(malformed.status, 400);
      await malformed.arrayBuffer();
      t.same(await files(), [id], 'nothing else is left');
      const back = await fetch(`${url}/api/tempfile/download/${id}`);
      t.same(new Uint8Array(await back.arrayBuffer()), tone(0.1));
    });
  });
}
