import t from 'tap';
import { WebSocket } from 'ws';
import {
  type ApiError,
  EchoMimicSession,
  type ServerFrame,
  type SessionOptions,
} from '../../src/client/index.js';
import { until } from '../helpers/until.js';
import { startSessions } from '../session/session-helper.js';

/** Sockets that a test can break. */
function breakable() {
  const sockets: WebSocket[] = [];
  class Breakable extends WebSocket {
    constructor(url: string) {
      super(url);
      sockets.push(this);
    }
  }
  return { sockets, WebSocket: Breakable };
}

const frames = (session: EchoMimicSession) => {
  const heard: ServerFrame[] = [];
  session.on('frame', (frame) => heard.push(frame));
  return heard;
};
const isLast = (frame: ServerFrame) => frame.event === 'tts_audio' && frame.data.is_last;

void t.test('a session over several lines', async (t) => {
  const { url } = await startSessions(t);
  const { sockets, WebSocket } = breakable();
  const open = (more: Partial<SessionOptions> = {}) => {
    const session = new EchoMimicSession({ url, mode: 'voice', WebSocket, ...more });
    t.teardown(() => session.close());
    return session;
  };

  await t.test('it comes back, misses nothing and sends what waited', async (t) => {
    const session = open();
    const heard = frames(session);
    const states: string[] = [];
    session.on('state', ({ state }) => states.push(state));
    t.throws(() => session.sendText('Too early.'), { code: 'CLOSED' });
    t.equal((await session.connect()).resumed, false);
    session.sendText('One. Two.');
    await until(() => heard.some(isLast), 'the first reply');
    sockets.at(-1)!.terminate();
    await until(() => session.state === 'reconnecting', 'the loss');
    session.sendText('Three.');
    await until(() => heard.filter(isLast).length === 2, 'the reply to what waited');
    t.same(states, ['connecting', 'open', 'reconnecting', 'open']);
    t.equal(session.ack?.resumed, true);
    const told = heard.filter(({ event }) => event !== 'connection_ack').map(({ seq }) => seq);
    t.same(
      told,
      [...new Set(told)].sort((a, b) => Number(a) - Number(b)),
      'each once, in order',
    );
    t.same(
      heard.flatMap(({ event, data }) => (event === 'tts_audio' ? [data.ai_text] : [])),
      ['One.', 'Two.', 'Three.'],
    );
    t.equal(session.mark?.lastSeq, heard.at(-1)?.seq);

    const other = open({ resume: session.mark });
    const why = new Promise<ApiError | undefined>((resolve) => session.on('closed', resolve));
    t.equal((await other.connect()).session_id, session.ack?.session_id, 'taken over');
    t.match(await why, { code: 'SESSION_REPLACED' }, 'the first does not come back');
    t.throws(() => session.interrupt(), { code: 'CLOSED' });

    const rest = (async () => {
      const events: string[] = [];
      for await (const { event } of other.frames()) events.push(event);
      return events;
    })();
    await other.stop();
    t.same(await rest, ['session_stopped_ack'], 'frames end with the session');
    t.equal(other.mark, undefined);
  });

  await t.test('a session that the server does not know is begun anew', async (t) => {
    const session = open({ resume: { sessionId: 'gone', resumeToken: 'no', lastSeq: 7 } });
    const lost: string[] = [];
    session.on('lost', ({ sessionId }) => lost.push(sessionId));
    t.match(await session.connect(), { resumed: false });
    t.same(lost, ['gone']);
  });

  await t.test('what cannot work is told, not tried again', async (t) => {
    const before = sockets.length;
    await t.rejects(open({ roleId: 'nobody' }).connect(), { code: 'ROLE_NOT_FOUND' });
    await t.rejects(open({ token: 'broken' }).connect(), { code: 'TOKEN_INVALID' });
    t.equal(sockets.length, before + 2);
    const away = open({ url: 'http://127.0.0.1:1', attempts: 2 });
    const states: object[] = [];
    away.on('state', (state) => states.push(state));
    await t.rejects(away.connect(), { code: 'OFFLINE' });
    t.match(states, [
      { state: 'connecting' },
      { state: 'connecting', retryMs: Number, why: { code: 'OFFLINE' } },
      { state: 'closed', why: { code: 'OFFLINE' } },
    ]);
    await t.rejects(
      open({ mode: 'voice', token: async () => Promise.reject(new Error('x')) }).connect(),
    );
  });
});
