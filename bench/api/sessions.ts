import { SocketClient } from '../../scripts/socket-client.js';
import type { ApiReport, Measure } from '../report/api.js';
import { inLanes, timed } from './service.js';

const openAtOnce = 20;
const words = 'Good morning. How are you?';

export type Mode = 'voice' | 'video';

/** A client whose session is open. */
export async function openSession(url: string, mode: Mode): Promise<SocketClient> {
  const client = await SocketClient.connect(`${url}/ws`);
  client.send({ event: 'request_connection', data: { mode } });
  await nextOf(client, 'connection_ack');
  return client;
}

/** The next frame of this kind; an error in its place is thrown. */
export async function nextOf(
  client: SocketClient,
  event: string,
  fits: (data: Record<string, unknown>) => boolean = () => true,
): Promise<Record<string, unknown>> {
  const frame = await client.next((one) => {
    const data = one['data'] as Record<string, unknown>;
    if (one['event'] === 'error') throw new Error(JSON.stringify(one));
    return one['event'] === event && fits(data);
  }, event);
  return frame['data'] as Record<string, unknown>;
}

export async function endSessions(clients: readonly SocketClient[]): Promise<void> {
  await Promise.all(
    clients.map((client) => {
      client.send({ event: 'stop_session', data: {} });
      return client.closed;
    }),
  );
}

/** Opening sessions, and turns by typed words: to the last sound, and to the video. */
export async function measureSessions(
  url: string,
  { sessions, turns, runs }: ApiReport['settings'],
): Promise<Measure[]> {
  const opened: number[][] = [];
  const rate: number[][] = [];
  for (let run = 0; run < runs; run++) {
    const clients: SocketClient[] = [];
    const times: number[] = [];
    const whole = await timed(() =>
      inLanes(sessions, openAtOnce, async () => {
        times.push(await timed(async () => clients.push(await openSession(url, 'voice'))));
      }),
    );
    opened.push(times);
    rate.push([(1000 * sessions) / whole]);
    await endSessions(clients);
  }
  const turn = async (mode: Mode, count: number, event: string): Promise<number[][]> => {
    const measured: number[][] = [];
    const client = await openSession(url, mode);
    const once = async () => {
      client.send({ event: 'text_message', data: { text: words } });
      const isLast = (data: Record<string, unknown>) => data['is_last'] !== false;
      await nextOf(client, event, isLast);
    };
    await once();
    for (let run = 0; run < runs; run++) {
      measured.push(await inLanes(count, 1, () => timed(once)));
    }
    await endSessions([client]);
    return measured;
  };
  return [
    { what: `sessions opened, ${openAtOnce} at once`, unit: 'per s', runs: rate },
    { what: `session: opened, ${openAtOnce} at once`, unit: 'ms', runs: opened },
    {
      what: 'turn: typed words to the end of the voice (flite)',
      unit: 'ms',
      runs: await turn('voice', turns, 'tts_audio'),
    },
    {
      what: 'turn: typed words to the video (simulated)',
      unit: 'ms',
      runs: await turn('video', Math.max(1, Math.round(turns / 5)), 'task_result'),
    },
  ];
}
