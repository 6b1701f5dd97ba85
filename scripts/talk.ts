import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { WebSocket } from 'ws';
import { ApiError, EchoMimicClient, EchoMimicSession } from '../src/client/index.js';
import { loadConfig } from '../src/config.js';
import { CodedError, codeOf } from '../src/errors.js';
import { projectRoot } from '../src/paths.js';
import { progressBar } from './progress-bar.js';
import { download, upload } from './temp-files.js';

const usage = `npm run talk -- [--url http://127.0.0.1:3000] [--mode voice|video] [--role ID]
    [--token ACCESS_TOKEN] [--out FOLDER] (TEXT | --audio RECORDING)
  says TEXT, or what the recording says, to a server that runs, and keeps the answer`;

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
  const { role, token } = values;
  const mode = values.mode === 'voice' ? 'voice' : 'video';
  const client = new EchoMimicClient({ baseUrl: values.url });
  const session = new EchoMimicSession({
    ...{ url: client.baseUrl, mode, token, roleId: role, attempts: 1 },
    WebSocket,
  });
  const bar = progressBar();
  try {
    const { ai_role } = await session.connect().catch((error: unknown) => {
      if (!(error instanceof ApiError) || error.code !== 'OFFLINE') throw error;
      const why = error.message;
      throw new CodedError(
        'NOT_FOUND',
        `no session at ${client.baseUrl} (${why}): "npm start" starts a server`,
      );
    });
    if (values.audio === undefined) session.sendText(text);
    else session.sendAudioFile(await upload(client, values.audio));
    await listen(client, session, ai_role.name, resolve(values.out), bar);
    await session.stop();
  } finally {
    bar.end();
    session.close();
  }
}

/** Prints and keeps the reply, which the server deletes with the session. */
async function listen(
  client: EchoMimicClient,
  session: EchoMimicSession,
  name: string,
  folder: string,
  bar: ReturnType<typeof progressBar>,
): Promise<void> {
  const keep = async (url: string, file: string) => {
    const path = join(folder, file);
    await download(client, url, path);
    return relative(process.cwd(), path) || path;
  };
  for await (const { event, data } of session.frames()) {
    if (event === 'error') throw new CodedError(data.code, data.message);
    if (event === 'asr_result') console.log(`You: ${data.user_text}`);
    if (event === 'tts_audio') {
      const path = await keep(data.audio_url, `talk-${data.index + 1}.wav`);
      console.log(`${name}: ${data.ai_text}  (${path})`);
      if (data.is_last && session.ack?.mode !== 'video') return;
    }
    if (event === 'task_progress') bar.show(data.percentage, data.message);
    if (event === 'task_result') {
      bar.end();
      console.log(`video: ${await keep(data.video_url, 'talk.mp4')}`);
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
