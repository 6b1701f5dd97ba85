import { createHash } from 'node:crypto';
import { type IncomingMessage, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import { type WebSocket, WebSocketServer } from 'ws';
import { Ledger, refusalBody } from './ledger.js';
import type { Asked, Plan, TaskRecord } from './plan.js';
import { Recognition, type Recognised, isAsrModel } from './recognition.js';
import { type Exchange, refuse } from './replies.js';
import { type SynthesisOptions, SynthesisSocket, type SynthesisState } from './synthesis.js';
import { Uploads } from './uploads.js';

export type { Asked, Plan, TaskRecord } from './plan.js';
export { toneOf, toneSamples } from './tone.js';

export interface DashscopeFakeOptions extends Partial<SynthesisOptions> {
  readonly apiKey?: string;
  /** Demanded of every request when it is given. */
  readonly workspace?: string;
  /** What is heard: by the SHA-256 of the recording (hex), or by a function. */
  readonly transcripts?: Readonly<Record<string, string>> | ((request: Recognised) => string);
  readonly plan?: Partial<Plan>;
  readonly maxUploadMegabytes?: number;
}

export interface DashscopeFake {
  readonly httpUrl: string;
  readonly socketUrl: string;
  readonly apiKey: string;
  /** For loadConfig. */
  readonly settings: Record<string, string>;
  /** What goes wrong next; may be added to at any time. */
  readonly plan: Plan;
  /** Breaches of the protocol: a test of a proper client ends with none. */
  readonly violations: readonly string[];
  readonly requests: readonly Asked[];
  readonly tasks: readonly TaskRecord[];
  /** Sockets of the synthesiser. */
  readonly sockets: {
    readonly open: number;
    readonly peak: number;
    readonly total: number;
    /** Handshakes that were not answered, and whose client still waits. */
    readonly hanging: number;
  };
  /** How many tasks have been made to hang. */
  readonly stuck: number;
  /** Sends a frame to every socket, whatever goes on there. */
  say(frame: string): void;
  /** Ends the sockets on which no task runs, as a service does after a while. */
  dropIdle(how: number | 'cut'): void;
  close(): Promise<void>;
}

export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** What the fake hears in a recording that no table names. */
export const defaultTranscript = (audio: Uint8Array): string =>
  `recording ${sha256(audio).slice(0, 8)}`;

/**
 * Stands for DashScope's recognition, file upload and speech synthesis on one port of the loopback
 * interface, and holds its clients to the protocol.
 */
export async function startDashscopeFake(
  t: Pick<Test, 'teardown'>,
  options: DashscopeFakeOptions = {},
): Promise<DashscopeFake> {
  const { apiKey = 'sk-fake-0123456789abcdef', workspace, plan = {} } = options;
  const ledger = new Ledger({ apiKey, workspace });
  for (const [name, steps] of Object.entries(plan)) {
    (ledger.plan[name as keyof Plan] as unknown[]).push(...steps);
  }
  const uploads = new Uploads(ledger, isAsrModel, options.maxUploadMegabytes ?? 100);
  const recognition = new Recognition(ledger, uploads, transcriber(options.transcripts));
  const state: SynthesisState = {
    options: {
      idleMs: options.idleMs ?? 23_000,
      restMs: options.restMs ?? 60_000,
      failedMs: options.failedMs ?? 1000,
      chunkBytes: options.chunkBytes ?? 4095,
      maxTasks: options.maxTasks ?? Infinity,
    },
    ledger,
    taskIds: new Set(),
    running: 0,
    stuck: 0,
  };

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://fake');
    readBody(request)
      .then((body) => route({ request, response, url, body }))
      .catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        if (!response.headersSent) {
          refuse(response, { status: 500, code: 'InternalError', message });
        }
      });
  });
  const route = async (exchange: Exchange): Promise<void> => {
    const { request, response, url } = exchange;
    const asked = `${request.method} ${url.pathname}`;
    if (asked === 'POST /api/v1/services/aigc/multimodal-generation/generation') {
      await recognition.handle(exchange);
    } else if (asked === 'GET /api/v1/uploads') uploads.policy(exchange);
    else if (asked === 'POST /oss') await uploads.store(exchange);
    else refuse(response, ledger.violation(`there is no ${asked}`, 'NotFound', 404));
  };

  const webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  const open = new Map<WebSocket, SynthesisSocket>();
  const hanging = new Set<Duplex>();
  const sockets = {
    open: 0,
    peak: 0,
    total: 0,
    get hanging() {
      return hanging.size;
    },
  };
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => undefined);
    hanging.add(socket);
    socket.on('close', () => hanging.delete(socket));
    const say = (status: number, body: string) =>
      socket.end(
        `HTTP/1.1 ${status} No\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    if (!/^\/api-ws\/v1\/inference\/?$/.test(request.url ?? '')) {
      return void say(404, refusalBody(ledger.violation(`no socket at ${request.url ?? ''}`)));
    }
    const stranger = ledger.stranger(request.headers);
    if (stranger !== undefined) return void say(stranger.status, refusalBody(stranger));
    ledger.requests.push({ kind: 'handshake' });
    const step = ledger.plan.handshake.shift();
    if (step === undefined) {
      webSockets.handleUpgrade(request, socket, head, (accepted) => {
        hanging.delete(socket);
        open.set(accepted, new SynthesisSocket(accepted, ++sockets.total, state));
        sockets.peak = Math.max(sockets.peak, ++sockets.open);
        accepted.on('close', () => {
          open.delete(accepted);
          sockets.open--;
        });
      });
    } else if ('refuse' in step) say(step.refuse.status, refusalBody(step.refuse));
    else if ('raw' in step) say(step.status, step.raw);
    else if ('cut' in step) socket.destroy();
    // an end is noticed by who reads
    else socket.resume().on('end', () => socket.destroy());
  });

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const httpUrl = `http://127.0.0.1:${port}/api/v1`;
  const socketUrl = `ws://127.0.0.1:${port}/api-ws/v1/inference`;
  const close = async () => {
    ledger.close();
    for (const socket of [...open.keys(), ...hanging]) {
      if ('terminate' in socket) socket.terminate();
      else socket.destroy();
    }
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  t.teardown(close);
  return {
    httpUrl,
    socketUrl,
    apiKey,
    settings: {
      ASR: 'dashscope',
      TTS: 'dashscope',
      DASHSCOPE_API_KEY: apiKey,
      DASHSCOPE_HTTP_BASE_URL: httpUrl,
      DASHSCOPE_WEBSOCKET_BASE_URL: socketUrl,
      ...(workspace === undefined ? {} : { DASHSCOPE_WORKSPACE: workspace }),
    },
    plan: ledger.plan,
    violations: ledger.violations,
    requests: ledger.requests,
    get tasks() {
      return ledger.requests.filter((one) => one.kind === 'task');
    },
    sockets,
    get stuck() {
      return state.stuck;
    },
    say(frame) {
      for (const socket of open.keys()) socket.send(frame);
    },
    dropIdle(how) {
      for (const [socket, { isResting }] of open) {
        if (!isResting) continue;
        if (how === 'cut') socket.terminate();
        else socket.close(how);
      }
    },
    close,
  };
}

function transcriber(given: DashscopeFakeOptions['transcripts']): (request: Recognised) => string {
  if (typeof given === 'function') return given;
  return ({ audio }) => given?.[sha256(audio)] ?? defaultTranscript(audio);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
