import { randomUUID } from 'node:crypto';
import t, { type Test } from 'tap';
import { Client } from '../helpers/client.js';
import { picture, tone } from '../helpers/samples.js';
import { openWorker, takeAndClaim } from '../helpers/tasks.js';
import { startSessions, type SessionServer } from '../session/session-helper.js';
import { SocketClient } from '../../scripts/socket-client.js';
import { until } from '../helpers/until.js';

const account = (url: string, name: string) => Client.register(url, name);

for (const auth of ['required', 'optional']) {
  void t.test(`ids of another user, with AUTH=${auth}`, async (t) => {
    const server = await startSessions(t, { AUTH: auth });
    const { url } = server;
    const [ann, eve] = [await account(url, 'ann'), await account(url, 'eve')];
    const nobody = new Client(url);

    const made = await ann.post<{ role: { role_id: string } }>('/api/roles', {
      name: 'Secret',
      personality: 'Known to ann alone.',
    });
    const role = made.body.role.role_id;
    const conversation = `talk-${randomUUID()}`;
    await ann.post('/api/conversations', { id: conversation, role_id: role });
    const rest: [method: string, path: string, body?: object][] = [
      ['GET', `/api/roles/${role}`],
      ['PATCH', `/api/roles/${role}`, { name: 'Stolen' }],
      ['DELETE', `/api/roles/${role}`],
      ['GET', `/api/conversations/${conversation}`],
      ['PATCH', `/api/conversations/${conversation}`, { title: 'Stolen' }],
      ['GET', `/api/conversations/${conversation}/messages`],
      ['GET', `/api/conversations/${conversation}/export`],
      ['DELETE', `/api/conversations/${conversation}`],
      ['POST', '/api/conversations', { role_id: role }],
    ];
    for (const [method, path, body] of rest) {
      t.equal((await eve.request(method, path, body)).status, 404, `eve: ${method} ${path}`);
      const { status } = await nobody.request(method, path, body);
      t.ok([401, 404].includes(status), `nobody: ${method} ${path}: ${status}`);
    }
    t.equal((await ann.get(`/api/roles/${role}`)).status, 200, 'ann has what is hers');
    t.equal((await ann.get(`/api/conversations/${conversation}`)).status, 200);

    await sockets(t, server, ann, eve, role, conversation);
    await tasks(t, server, ann, eve);
    await renders(t, server, ann, eve);
  });
}

/** A task is its session's: nobody else is told of it, or ends it. */
async function tasks(t: Test, server: SessionServer, ann: Client, eve: Client): Promise<void> {
  const worker = await openWorker(t, server.redis);
  const hers = await server.client();
  await hers.connect({
    ...{ token: ann.token, mode: 'video' },
    image_id: await server.upload(await picture()),
  });
  hers.send('audio_uploaded', { audio_url: await server.upload() });
  const task_id = String((await hers.next('task_submitted')).data['task_id']);
  await hers.next('task_progress');

  const other = await (await server.client()).connect({ token: eve.token, mode: 'video' });
  const own = `talk-${randomUUID()}`;
  const life = await SocketClient.connect(
    `${server.url}/ws/conversation/${own}?token=${String(eve.token)}`,
  );
  t.teardown(() => life.socket.terminate());
  const session_id = hers.sessionId;
  for (const event of ['interrupt', 'stop_session', 'cancel', 'task_progress', 'task_result']) {
    const errors = other.of('error').length;
    other.send(event, { session_id, task_id });
    await until(() => other.of('error').length > errors, `${event} is refused`);
  }
  for (const type of ['cancel', 'interrupt', 'stop_session', 'task_progress', 'task_result']) {
    const data = { session_id, task_id };
    life.send({ type, conversation_id: own, data, timestamp: new Date().toISOString() });
    await life.next((frame) => frame['type'] === 'error', `${type} is refused`);
  }
  for (const client of [ann, eve]) {
    for (const [method, path] of taskRequests(task_id)) {
      const { status } = await client.request(method, path);
      t.equal(status, 404, `a session's task does not exist to HTTP: ${method} ${path}`);
    }
  }

  const claim = await takeAndClaim(worker);
  t.equal(claim.taskId, task_id, 'nobody withdrew it');
  await hers.next('task_progress', ({ status }) => status === 'processing');
  t.notOk(claim.cancelled.aborted);
  const told = JSON.stringify([other.frames, life.received]);
  t.notOk(told.includes(task_id), 'nothing of it came to others');
  t.ok(JSON.stringify(hers.frames).includes(task_id));
}

function taskRequests(id: string): [method: string, path: string][] {
  const path = `/api/tasks/${id}`;
  return [
    ['GET', path],
    ['GET', `${path}/events`],
    ['DELETE', path],
  ];
}

/** A task of HTTP is its user's. */
async function renders(t: Test, server: SessionServer, ann: Client, eve: Client): Promise<void> {
  const image_id = await server.upload(await picture());
  const { body } = await ann.post<{ task_id: string }>('/api/tasks', {
    ...{ image_id, audio_id: await server.upload() },
  });
  for (const [method, path] of taskRequests(body.task_id)) {
    t.match(await eve.request(method, path), { status: 404, body: { code: 'TASK_NOT_FOUND' } });
    const { status } = await new Client(server.url).request(method, path);
    t.ok([401, 404].includes(status), `nobody: ${method} ${path}: ${status}`);
  }
  t.match((await eve.get('/api/tasks')).body, { tasks: [], total: 0 });
  t.match((await ann.get('/api/tasks')).body, { tasks: [{ status: 'queued' }], total: 1 });
}

async function sockets(
  t: Test,
  server: SessionServer,
  ann: Client,
  eve: Client,
  role: string,
  conversation: string,
): Promise<void> {
  const hers = await (await server.client()).connect({ token: ann.token });
  const ask = async (request: Record<string, unknown>, code: string) => {
    const talker = await server.client();
    talker.send('request_connection', { mode: 'voice', ...request });
    t.match(await talker.error(code), { data: { code } }, code);
    t.equal(talker.of('connection_ack').length, 0);
  };
  const { token } = eve;
  await ask({ token, role_id: role }, 'ROLE_NOT_FOUND');
  await ask({ token, conversation_id: conversation }, 'FORBIDDEN');
  const resume = { session_id: hers.sessionId, resume_token: hers.ack['resume_token'] };
  await ask({ token, ...resume }, 'SESSION_UNKNOWN');
  await ask({ token, ...resume, resume_token: 'guessed' }, 'SESSION_UNKNOWN');
  await ask({ session_id: hers.sessionId, resume_token: 'guessed' }, 'SESSION_UNKNOWN');

  const file = await server.upload();
  hers.send('audio_uploaded', { audio_url: file });
  await hers.lastAudio();
  const other = await (await server.client()).connect({ token });
  other.send('audio_uploaded', { audio_url: file });
  await other.error('FILE_NOT_FOUND');
  other.send('text_message', { session_id: hers.sessionId, text: 'hello' });
  await other.error('SESSION_UNKNOWN');
  other.send('stop_session', { session_id: hers.sessionId });
  await until(() => other.of('error').length >= 3, 'nor can she stop it');
  for (const address of ['http://127.0.0.1:1/a.wav', 'file:///etc/passwd', '../../etc/passwd']) {
    other.send('audio_uploaded', { audio_url: address });
    await other.error('FRAME_INVALID');
  }

  for (const [who, code] of [
    [eve.token, 'FORBIDDEN'],
    ['', 'UNAUTHORIZED'],
  ]) {
    const life = await SocketClient.connect(
      `${server.url}/ws/conversation/${conversation}?token=${who}`,
    );
    t.match(await life.closed, { code: 1008, reason: new RegExp(`^${code}`) });
    t.notOk(life.received.some(({ type }) => type === 'connect'));
  }
  hers.send('text_message', { text: 'still mine' });
  await hers.lastAudio();
}

void t.test('with API_TOKEN: the files of a login are its own', async (t) => {
  const holder = 'the-token-of-all-programs';
  const server = await startSessions(t, { API_TOKEN: holder, AUTH: 'optional' });
  const { url } = server;
  const [ann, eve] = [await account(url, 'ann'), await account(url, 'eve')];
  const [nobody, program] = [new Client(url), new Client(url, holder)];
  const send = async (client: Client, content: Uint8Array<ArrayBuffer>, query = '') => {
    const body = new FormData();
    body.append('file', new Blob([content]), 'file');
    const headers = { authorization: `Bearer ${client.token ?? ''}` };
    const answer = await fetch(`${url}/api/tempfile/upload${query}`, {
      ...{ method: 'POST', body, headers },
    });
    return (await answer.json()) as { file_id: string; code?: string };
  };
  const at = (id: string) => `/api/tempfile/download/${id}`;
  const head = async ({ token }: Client, id: string) => {
    const headers = { authorization: `Bearer ${token}` };
    return (await fetch(url + at(id), { method: 'HEAD', headers })).status;
  };

  const png = await picture();
  const { file_id: hers } = await send(ann, png);
  const { file_id: theirs } = await send(program, png);
  const her = await ann.get<{ user: { id: string } }>('/api/account');
  const video = randomUUID();
  await send(program, tone(0.1), `?file_id=${video}&user=${her.body.user.id}`);
  for (const id of [hers, video]) {
    t.equal((await ann.get(at(id))).status, 200, 'hers: what she sent, and what was made for her');
    t.equal(await head(ann, id), 200);
    t.equal((await program.get(at(id))).status, 200);
    t.equal(await head(eve, id), 404);
    t.match(await nobody.get(at(id)), { status: 401, body: { code: 'UNAUTHORIZED' } });
    for (const [method, path] of [
      ['GET', at(id)],
      ['DELETE', `/api/tempfile/delete/${id}`],
    ] as const) {
      t.equal((await eve.request(method, path)).status, 404, `eve: ${method} ${path}`);
      t.equal((await nobody.request(method, path)).status, 401, `nobody: ${method} ${path}`);
    }
  }
  t.equal((await ann.get(at(theirs))).status, 404, 'those of programs are theirs');
  const all = { file_ids: [hers, theirs, video] };
  t.match((await eve.post('/api/tempfile/batch-delete', all)).body, { deleted_count: 0 });
  t.match(await send(eve, png, `?file_id=${hers}`), { code: 'FILE_EXISTS' });
  const { file_id: named } = await send(eve, png, `?user=${her.body.user.id}`);
  t.equal((await ann.get(at(named))).status, 404, 'only programs name whose a file is');
  t.match(await send(nobody, png), { code: 'TOKEN_INVALID' });

  const role = { name: 'Stolen', personality: '', image_id: hers, consent: true };
  t.match(await eve.post('/api/roles', role), { status: 404, body: { code: 'FILE_NOT_FOUND' } });
  const worker = await openWorker(t, server.redis);
  const task = { image_id: hers, audio_id: video };
  t.match(await eve.post('/api/tasks', task), { body: { code: 'TASK_FILE_NOT_FOUND' } });
  t.equal((await ann.post('/api/tasks', task)).status, 202);
  t.equal((await takeAndClaim(worker)).entry.user, her.body.user.id, 'her video will be hers');
  t.equal((await program.post('/api/tasks', task)).status, 202);

  const talks = await (await server.client()).connect({ token: eve.token });
  talks.send('audio_uploaded', { audio_url: video });
  await talks.error('FILE_NOT_FOUND');
  const talk = await (await server.client()).connect({ token: ann.token, image_id: hers });
  talk.send('text_message', { text: 'Good morning.' });
  const voice = String((await talk.lastAudio()).data['audio_url']);
  t.equal((await ann.get(voice)).status, 200, 'she hears the answer');
  t.equal((await eve.get(voice)).status, 404);

  t.match((await ann.post('/api/tempfile/batch-delete', all)).body, { deleted_count: 2 });
  t.equal((await program.get(at(theirs))).status, 200);
  await ann.post('/api/auth/logout', {});
  t.match(await ann.get(at(video)), { status: 401, body: { code: 'TOKEN_INVALID' } });
});
