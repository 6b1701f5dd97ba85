import { randomUUID } from 'node:crypto';
import t from 'tap';
import { EchoMimicClient, type Tokens, memoryStore } from '../../src/client/index.js';
import { startApp } from '../helpers/app.js';
import { tone } from '../helpers/samples.js';

void t.test('the client over HTTP', async (t) => {
  const { url } = await startApp(t, { MAX_AUDIO_MB: '1' });
  const asked: string[] = [];
  const counted: typeof fetch = (input, init) => {
    asked.push(new URL(input).pathname);
    return fetch(input, init);
  };
  const store = memoryStore();
  const client = new EchoMimicClient({ baseUrl: `${url}/`, tokens: store, fetch: counted });
  const password = randomUUID();
  const refreshes = () => asked.filter((path) => path === '/api/auth/refresh').length;

  await t.test('a login is kept and refreshed once for all', async (t) => {
    t.match(await client.register({ username: 'ann', password }), { username: 'ann' });
    t.equal(client.isLoggedIn, true);
    const first = store.get() as Tokens;
    store.set({ ...first, expiresAt: Date.now() });
    const accounts = await Promise.all([1, 2, 3, 4].map(() => client.account()));
    t.same(new Set(accounts.map(({ username }) => username)), new Set(['ann']));
    t.equal(refreshes(), 1);
    const second = store.get() as Tokens;
    t.not(second.refreshToken, first.refreshToken);

    // the server takes it for none of its own, whatever the clock says
    store.set({ ...second, accessToken: 'broken' });
    t.match(await client.changeAccount({ nickname: 'Annie' }), { nickname: 'Annie' });
    t.equal(refreshes(), 2);

    store.set({ ...first, expiresAt: 0 });
    await t.rejects(client.usage(), { code: 'TOKEN_INVALID', status: 401 });
    t.equal(client.isLoggedIn, false, 'a login that has ended is forgotten');
    await t.rejects(client.account(), { code: 'UNAUTHORIZED' });
    t.match(await client.login({ username: 'ann', password }), { nickname: 'Annie' });
    await client.logout();
    t.equal(client.isLoggedIn, false);
    await client.login({ username: 'ann', password });
  });

  await t.test('files', async (t) => {
    const sent: number[][] = [];
    const file = new File([tone(0.1)], 'voice.wav');
    const onProgress = (...bytes: number[]) => void sent.push(bytes);
    const { file_id, original_name } = await client.upload(file, { onProgress });
    t.equal(original_name, 'voice.wav');
    t.same(sent, [[file.size, file.size]]);
    t.equal(client.fileUrl(file_id), `${url}/api/tempfile/download/${file_id}`);
    const whole = await (await client.download(client.fileUrl(file_id))).arrayBuffer();
    t.equal(whole.byteLength, file.size);
    t.equal((await client.download(file_id, { range: 'bytes=0-3' })).status, 206);
    await client.deleteFile(file_id);
    await t.rejects(client.download(file_id), { code: 'FILE_NOT_FOUND', status: 404 });
    t.equal(await client.deleteFiles([file_id]), 0);
    const large = new Blob([tone(40)]);
    await t.rejects(client.upload(large), { code: 'FILE_TOO_LARGE', status: 413 });
  });

  await t.test('roles and conversations', async (t) => {
    const role = await client.roles.create({ name: 'Zoë', personality: 'Quiet.' });
    t.match(await client.roles.update(role.role_id, { age: 30 }), { age: 30, is_mine: true });
    t.equal((await client.roles.list({ mine: true, q: 'zo' })).total, 1);
    const { conversation_id: id } = await client.conversations.create({ role_id: role.role_id });
    t.match(await client.conversations.rename(id, 'Ours'), { title: 'Ours' });
    t.same((await client.conversations.messages(id, { limit: 5 })).messages, []);
    t.match(await (await client.conversations.export(id)).text(), /^# Ours/);
    t.match(await client.conversations.list({ status: 'active' }), { total: 1 });
    await client.conversations.remove(id);
    await client.roles.remove(role.role_id);
    await t.rejects(client.roles.get(role.role_id), { code: 'ROLE_NOT_FOUND' });
  });

  await t.test('what fails', async (t) => {
    const away = new EchoMimicClient({ baseUrl: 'http://127.0.0.1:1' });
    await t.rejects(away.roles.list(), { name: 'ApiError', code: 'OFFLINE', status: 0 });
    const page = new EchoMimicClient({
      baseUrl: url,
      fetch: async () =>
        new Response('<h1>Bad gateway</h1>', { status: 502, headers: { 'retry-after': '7' } }),
    });
    await t.rejects(page.roles.list(), { code: 'UNEXPECTED', status: 502, retryAfter: 7 });
    const reason = new Error('never mind');
    await t.rejects(client.roles.list({}, { signal: AbortSignal.abort(reason) }), reason);
    await t.rejects(client.deleteAccount('wrong'), { code: 'LOGIN_FAILED' });
    await client.deleteAccount(password);
    t.equal(client.isLoggedIn, false);
  });
});
