// The same as client.mjs with the typed client of src/client.
//
//   node dist/docs/examples/client.js portrait.png speech.wav video.mp4
import { openAsBlob } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { WebSocket } from 'ws';
import { EchoMimicClient } from '../../src/client/index.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { url: { type: 'string', default: 'http://127.0.0.1:3000' } },
});
const [image = '', audio = '', out = ''] = positionals;
const client = new EchoMimicClient({ baseUrl: values.url });

const upload = async (path: string) =>
  (await client.upload(await openAsBlob(path), { name: basename(path) })).file_id;

const { task_id } = await client.tasks.create({
  image_id: await upload(image),
  audio_id: await upload(audio),
});
console.log(`task ${task_id}`);
const last = await client.tasks.watch(task_id, ({ percentage, status, message }) =>
  console.log(`${percentage} % ${status}: ${message}`),
);
if (last.video_file_id === undefined) throw new Error(`${last.code}: ${last.message}`);
const video = await client.download(last.video_file_id);
await writeFile(out, new Uint8Array(await video.arrayBuffer()));
console.log(`saved ${out}`);

const session = client.session({ mode: 'voice', WebSocket });
const { ai_role } = await session.connect();
console.log(`${ai_role.name} listens`);
session.sendText('Good morning. How are you?');
for await (const { event, data } of session.frames()) {
  if (event === 'error') throw new Error(`${data.code}: ${data.message}`);
  if (event !== 'tts_audio') continue;
  console.log(`${data.ai_text} (${data.audio_url})`);
  if (data.is_last) break;
}
await session.stop();
