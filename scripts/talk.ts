import { readFile } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.js';
import { CodedError, codeOf } from '../src/errors.js';
import { projectRoot } from '../src/paths.js';
import { progressBar } from './progress-bar.js';
import { SocketClient } from './socket-client.js';
import { download, upload } from './temp-files.js';

const usage = `npm run talk -- [--url http://127.0.0.1:3000] [--mode voice|video] [--role ID]
    [--token ACCESS_TOKEN] [--out FOLDER] (TEXT | --audio RECORDING)
  says TEXT, or what the recording says, to a server that runs, and keeps the answer`;

interface Frame {
  readonly event: string;
  readonly data: Record<string, unknown>;
}

/** `npm run talk`: one turn with a portrait, as any client would have it. */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      url: { type: 'string', default: loadConfig().clientUrl },
      mode: { type: 'string', default: 'video' },
      role: { type: 'string' },
      token: { type: 'string' },
      audio: { type: 'string' },
      out: { type: 'string', default: join(projectRoot, 'out') },
      help: { type: 'boolean' },
    },
  });
  const text = positionals.join(' ');
  if (values.help === true || (text === '') === (values.audio === undefined)) {
    console.error(usage);
    process.exitCode = values.help === true ? 0 : 2;
    return;
  }
  const url = values.url.replace(/\/+$/, '');
  const client = await SocketClient.connect(`${url}/ws`).catch((error: unknown) => {
    const why = (error as Error).message;
    throw new CodedError('NOT_FOUND', `no session at ${url} (${why}): "npm start" starts a server`);
  });
  const bar = progressBar();
  try {
    const { mode, role, token } = values;
    client.send({ event: 'request_connection', data: { mode, role_id: role, token } });
    const { data: ack } = await next(client);
    const { name } = ack['ai_role'] as { name: string };
    if (values.audio === undefined) client.send({ event: 'text_message', data: { text } });
    else {
      const bytes = new Uint8Array(await readFile(values.audio));
      const audio_url = await upload(url, bytes, basename(values.audio));
      client.send({ event: 'audio_uploaded', data: { audio_url } });
    }
    await listen(client, name, mode === 'video', resolve(values.out), bar);
    client.send({ event: 'stop_session', data: {} });
    await client.closed;
  } finally {
    bar.end();
    client.socket.terminate();
  }
}

async function next(client: SocketClient): Promise<Frame> {
  const frame = (await client.next(() => true, 'the server', 600_000)) as unknown as Frame;
  if (frame.event === 'error')
    throw new CodedError(codeOf(frame.data), String(frame.data['message']));
  return frame;
}

/** Prints and keeps the reply, which the server deletes with the session. */
async function listen(
  client: SocketClient,
  name: string,
  wantsVideo: boolean,
  folder: string,
  bar: ReturnType<typeof progressBar>,
): Promise<void> {
  const keep = async (url: unknown, file: string) => {
    const path = join(folder, file);
    await download(String(url), path);
    return relative(process.cwd(), path) || path;
  };
  for (;;) {
    const { event, data } = await next(client);
    if (event === 'asr_result') console.log(`You: ${String(data['user_text'])}`);
    if (event === 'tts_audio') {
      const path = await keep(data['audio_url'], `talk-${Number(data['index']) + 1}.wav`);
      console.log(`${name}: ${String(data['ai_text'])}  (${path})`);
      if (data['is_last'] === true && !wantsVideo) return;
    }
    if (event === 'task_progress') bar.show(Number(data['percentage']), String(data['message']));
    if (event === 'task_result') {
      bar.end();
      console.log(`video: ${await keep(data['video_url'], 'talk.mp4')}`);
      return;
    }
  }
}

try {
  await main();
} catch (error) {
  console.error(`${codeOf(error)}: ${(error as Error).message}`);
  process.exitCode = 1;
}
