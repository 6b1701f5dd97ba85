// A client of EchoMimic Server in JavaScript, without packages: a video from a portrait and a
// recording, then one turn of a conversation.
//
//   node --experimental-websocket docs/examples/client.mjs portrait.png speech.wav video.mp4
//
// Node 22 and later need no flag. BASE_URL says where the server is.
import { openAsBlob } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';

const baseUrl = process.env.BASE_URL ?? 'http://127.0.0.1:3000';
const [image, audio, out] = process.argv.slice(2);

/** The answer; a failure is thrown with its code. */
async function call(path, options) {
  const response = await fetch(new URL(path, baseUrl), options);
  if (response.ok) return response;
  const { code, message } = await response.json();
  throw new Error(`${code}: ${message}`);
}

async function upload(path) {
  const form = new FormData();
  form.append('file', await openAsBlob(path), basename(path));
  const answer = await call('/api/tempfile/upload', { method: 'POST', body: form });
  return (await answer.json()).file_id;
}

/** Every update of a task until its last: Server-Sent Events, each with JSON as its data. */
async function* updates(taskId) {
  const { body } = await call(`/api/tasks/${taskId}/events`);
  let text = '';
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    const events = (text + piece).split('\n\n');
    text = events.pop();
    for (const event of events) {
      const data = /^data: (.*)$/m.exec(event)?.[1];
      if (data === undefined) continue;
      const update = JSON.parse(data);
      yield update;
      if (update.status === 'completed' || update.status === 'failed') return;
    }
  }
}

async function makeVideo() {
  const created = await call('/api/tasks', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ image_id: await upload(image), audio_id: await upload(audio) }),
  });
  const { task_id } = await created.json();
  console.log(`task ${task_id}`);
  for await (const { status, percentage, message, code, video_file_id } of updates(task_id)) {
    console.log(`${percentage} % ${status}: ${message}`);
    if (status === 'failed') throw new Error(`${code}: ${message}`);
    if (status !== 'completed') continue;
    const video = await call(`/api/tempfile/download/${video_file_id}`);
    await writeFile(out, video.body);
    console.log(`saved ${out}`);
  }
}

/** Resolves when the reply is complete; its sentences come as they are spoken. */
function talk(words) {
  const socket = new WebSocket(`${baseUrl.replace(/^http/, 'ws')}/ws`);
  const send = (event, data) => socket.send(JSON.stringify({ event, data }));
  return new Promise((resolve, reject) => {
    socket.onopen = () => send('request_connection', { mode: 'voice' });
    socket.onclose = ({ code, reason }) => reject(new Error(`closed with ${code} ${reason}`));
    socket.onmessage = ({ data: text }) => {
      const { event, data } = JSON.parse(text);
      if (event === 'connection_ack') {
        console.log(`${data.ai_role.name} listens`);
        send('text_message', { text: words });
      }
      if (event === 'tts_audio') {
        console.log(`${data.ai_text} (${data.audio_url})`);
        if (data.is_last) send('stop_session', {});
      }
      if (event === 'error') reject(new Error(`${data.code}: ${data.message}`));
      if (event === 'session_stopped_ack') resolve();
    };
  }).finally(() => socket.close());
}

await makeVideo();
await talk('Good morning. How are you?');
