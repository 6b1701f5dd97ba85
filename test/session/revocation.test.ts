import t from 'tap';
import { SocketClient } from '../../scripts/socket-client.js';
import { Accounts } from '../../src/account/accounts.js';
import { createLog } from '../../src/log.js';
import { openDatabase } from '../../src/store/database.js';
import { Client } from '../helpers/client.js';
import { until } from '../helpers/until.js';
import { startSessions } from './session-helper.js';

interface Tokens {
  access_token: string;
  refresh_token: string;
}

t.test('sockets and sessions end with the login they belong to', async (t) => {
  const server = await startSessions(t, { AUTH: 'required' });
  const person = { username: 'ann', password: 'correct horse battery' };
  const anonymous = new Client(server.url);
  await anonymous.post('/api/auth/register', person);
  const logIn = async () => (await anonymous.post<Tokens>('/api/auth/login', person)).body;
  const open = async ({ access_token: token }: Tokens) =>
    (await server.client()).connect({ token });
  const [phone, laptop] = [await logIn(), await logIn()];
  const [onPhone, onLaptop] = [await open(phone), await open(laptop)];
  const life = await SocketClient.connect(
    `${server.url}/ws/conversation/evening?token=${phone.access_token}`,
  );
  t.teardown(() => life.socket.terminate());
  await until(() => life.received.some(({ type }) => type === 'connect'), 'the second dialect');

  await new Client(server.url, phone.access_token).post('/api/auth/logout', {});
  t.match((await onPhone.error('TOKEN_INVALID')).data['message'], /login .* has ended/);
  t.match(await onPhone.client.closed, { code: 4401, reason: /^TOKEN_INVALID/ });
  t.match(await life.closed, { code: 4401, reason: /^TOKEN_INVALID/ });
  t.match(life.received.at(-1), { type: 'error', data: { code: 'TOKEN_INVALID' } });
  const back = await server.client();
  back.send('request_connection', {
    mode: 'voice',
    session_id: onPhone.sessionId,
    resume_token: onPhone.ack['resume_token'],
  });
  await back.error('SESSION_UNKNOWN');

  onLaptop.send('text_message', { text: 'still here' });
  await until(() => onLaptop.of('tts_audio').length > 0, 'the other login goes on');
  const refreshed = await anonymous.post<Tokens>('/api/auth/refresh', {
    refresh_token: laptop.refresh_token,
  });
  const changed = await new Client(server.url, refreshed.body.access_token).post<Tokens>(
    '/api/account/password',
    { current_password: person.password, new_password: 'a better horse' },
  );
  t.match(await onLaptop.client.closed, { code: 4401, reason: /^TOKEN_INVALID/ });

  const onTablet = await open(changed.body);
  const db = await openDatabase(server.config, createLog('silent'));
  t.teardown(() => db.destroy());
  const elsewhere = new Accounts(db, server.config, createLog('silent'));
  await elsewhere.resetPassword('ann', 'an even better horse');
  t.match(await onTablet.client.closed, { code: 4401 }, 'soon, when another process ended it');
  await server.empty();
});

t.test('a deleted account ends all that its user has open, in every process', async (t) => {
  const server = await startSessions(t, { AUTH: 'required' });
  const settings = { AUTH: 'required', DATA_DIR: server.config.dataFolder };
  const other = await startSessions(t, settings, {}, server.redis);
  const account = (username: string) => ({ username, password: `the secret of ${username}` });
  const [bob, ann] = [account('bob'), account('ann')] as const;
  const signUp = async (person: object) =>
    (await new Client(server.url).post<Tokens>('/api/auth/register', person)).body.access_token;
  const [bobs, anns] = [await signUp(bob), await signUp(ann)];
  const here = await (await server.client()).connect({ token: bobs });
  const there = await (await other.client()).connect({ token: bobs });
  const life = await SocketClient.connect(`${other.url}/ws/conversation/late?token=${bobs}`);
  t.teardown(() => life.socket.terminate());
  await until(() => life.received.some(({ type }) => type === 'connect'), 'the second dialect');
  const hers = await (await other.client()).connect({ token: anns });

  const wrong = await new Client(server.url, bobs).request('DELETE', '/api/account', ann);
  t.not(wrong.status, 200);
  const { password } = bob;
  t.match(await new Client(server.url, bobs).request('DELETE', '/api/account', { password }), {
    status: 200,
  });
  for (const { closed } of [here.client, there.client, life]) {
    t.match(await closed, { code: 4401, reason: /^TOKEN_INVALID/ });
  }
  const again = await server.client();
  again.send('request_connection', { mode: 'voice', token: bobs });
  await again.error('TOKEN_INVALID');
  hers.send('text_message', { text: 'still here' });
  await until(() => hers.of('tts_audio').length > 0, 'another user goes on');
});
