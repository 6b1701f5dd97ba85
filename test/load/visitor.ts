import { createHash } from 'node:crypto';
import { type Closed, SocketClient } from '../../scripts/socket-client.js';
import { readWav, wavFile } from '../../src/media/wav.js';
import { wavOfText } from '../fakes/openai/voice.js';
import { upload } from '../helpers/app.js';
import type { Client } from '../helpers/client.js';
import { stampOf } from '../helpers/smallest-clip.js';

export type Mode = 'voice' | 'video';
export type Way = 'upload' | 'chunks' | 'text';
export type Farewell = 'stop' | 'close' | 'vanish';

export interface VisitorOptions {
  readonly number: number;
  readonly url: string;
  readonly mode: Mode;
  /** How the second thing is said. */
  readonly way: Way;
  readonly farewell: Farewell;
  /** 0.5 to 2: makes the voice of this visitor's portrait its own. */
  readonly pitch: number;
  /** A picture of the visitor's own; by default that of the role. */
  readonly picture?: Uint8Array<ArrayBuffer> | undefined;
  readonly account?: { readonly token: string; readonly rest: Client } | undefined;
  /** Whether sound says these words. */
  readonly says: (sound: Sound, words: string, pitch: number) => boolean;
}

export interface Sound {
  readonly file: Buffer;
  readonly pcm: Uint8Array;
  readonly sampleRate: number;
}

interface Frame {
  readonly event: string;
  readonly data: Record<string, unknown>;
  readonly seq: number;
}

const uuids = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const waitMs = 200_000;
const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');

export const nameOf = (number: number) => `visitor ${String(number).padStart(3, '0')}`;

/** What the model answers, and how often the visitor has spoken: the history is its own, too. */
export function replyTo(words: string, times: number): string {
  return `Yes, you said: ${words} We have spoken ${times} times by now, and every word is kept.`;
}

/** A client that says what nobody else says, and looks at all it gets for what is not its own. */
export class Visitor {
  readonly options: VisitorOptions;
  readonly name: string;
  /** What was found wrong. */
  readonly problems: string[] = [];
  /** The file of what was said first. */
  recordingId = '';
  /** Of the last video in its queue. */
  lastPlace = 0;
  #client!: SocketClient;
  #pictureHash = '';
  #sessionId = '';
  readonly #words: [string, string];
  readonly #recordings: [Buffer, Buffer];

  constructor(options: VisitorOptions) {
    this.options = options;
    this.name = nameOf(options.number);
    this.#words = [
      `Good morning from ${this.name}.`,
      `I am ${this.name} and I wish for ${1000 + 7 * options.number} apples.`,
    ];
    this.#recordings = this.#words.map((text) => wavOfText(text, { sampleRate: 16_000 })) as [
      Buffer,
      Buffer,
    ];
  }

  get sessionId(): string {
    return this.#sessionId;
  }

  get conversationId(): string {
    return `conversation-of-${this.name.replace(' ', '-')}`;
  }

  get frames(): Frame[] {
    return this.#client.received as unknown as Frame[];
  }

  async connect(): Promise<void> {
    const { url, mode, pitch, picture, account } = this.options;
    const imageId = picture === undefined ? undefined : await this.#upload(picture, 'face.png');
    this.#client = await SocketClient.connect(`${url}/ws`);
    this.#send('request_connection', {
      mode,
      pitch_rate: pitch,
      image_id: imageId,
      ...(account === undefined
        ? {}
        : { token: account.token, conversation_id: this.conversationId }),
    });
    const { data } = await this.#next('connection_ack');
    this.#sessionId = String(data['session_id']);
    if ((data['chat_history'] as unknown[]).length > 0)
      this.problems.push('a history to begin with');
    const portrait = (data['ai_role'] as Record<string, string>)['image_url'];
    this.#pictureHash = sha256(picture ?? (await this.#download(portrait)));
  }

  /** Two turns; words that are typed follow on the heels of the speech. */
  async talk(): Promise<void> {
    this.recordingId = await this.#upload(this.#recordings[0], 'speech.wav');
    const { way } = this.options;
    const secondId = way === 'upload' ? await this.#upload(this.#recordings[1], 'speech.wav') : '';
    this.#send('audio_uploaded', { session_id: this.sessionId, audio_url: this.recordingId });
    if (way === 'text') this.#send('text_message', { text: this.#words[1] });
    await this.#turn(1);
    if (way === 'upload') this.#send('audio_uploaded', { audio_url: secondId });
    if (way === 'chunks') this.#sendChunks(this.#recordings[1]);
    await this.#turn(2);
  }

  /** Looks at every frame, and at everything behind the addresses in them. */
  async check(): Promise<void> {
    const { frames } = this;
    frames.forEach(({ seq }, i) => {
      if (seq !== i + 1) this.problems.push(`frame ${i + 1} has seq ${seq}`);
    });
    const video =
      this.options.mode === 'video' ? ' task_submitted( task_progress)* task_result' : '';
    const turn = (way: Way, number: number) =>
      `${way === 'text' ? '' : ` asr_result/${number}`}( tts_audio/${number})+${video.replaceAll(/(task_\w+)/g, `$1/${number}`)}`;
    const order = new RegExp(`^connection_ack${turn('upload', 1)}${turn(this.options.way, 2)}$`);
    const found = frames
      .map(({ event, data }) =>
        data['turn_id'] === undefined ? event : `${event}/${Number(data['turn_id'])}`,
      )
      .join(' ');
    if (!order.test(found)) this.problems.push(`frames in the wrong order: ${found}`);
    for (const name of JSON.stringify(frames).match(/visitor \d+/g) ?? []) {
      if (name !== this.name) this.problems.push(`words of ${name}`);
    }
    await this.#checkTurn(1);
    await this.#checkTurn(2);
    await this.#checkHistory();
  }

  /** Ids in what it got; those of the role are everybody's. */
  ids(): Set<string> {
    const own = this.frames.map(({ data }) => JSON.stringify({ ...data, ai_role: undefined }));
    return new Set(own.join('\n').match(uuids) ?? []);
  }

  /** Asks for what belongs to somebody else. */
  async trespass(other: Visitor): Promise<void> {
    this.#send('audio_uploaded', { audio_url: other.recordingId });
    await this.#refusal('FILE_NOT_FOUND');
    this.#send('text_message', { session_id: other.sessionId, text: 'hello' });
    await this.#refusal('SESSION_UNKNOWN');
  }

  /** Begins one more turn and leaves in the middle of it. */
  async beginAnother(): Promise<void> {
    this.#send('text_message', { text: `One more thing from ${this.name}.` });
    if (this.options.mode !== 'video') return;
    this.lastPlace = Number((await this.#next('task_submitted')).data['position']);
  }

  async leave(): Promise<void> {
    if (this.options.farewell === 'stop') {
      this.#send('stop_session', { session_id: this.sessionId });
      await this.#next('session_stopped_ack');
      this.#expectClosed(await this.#client.closed, 1000);
    } else if (this.options.farewell === 'close') {
      this.#expectClosed(await this.#client.close(1000), 1000);
    } else {
      this.#client.socket.terminate();
      this.#expectClosed(await this.#client.closed, 1006);
    }
  }

  async #checkTurn(number: 1 | 2): Promise<void> {
    const { mode, way, pitch, says } = this.options;
    const words = this.#words[number - 1] as string;
    const of = (event: string) =>
      this.frames.filter((one) => one.event === event && one.data['turn_id'] === number);
    const [heard] = of('asr_result');
    if (heard !== undefined) {
      if (heard.data['user_text'] !== words) this.problems.push(`heard ${JSON.stringify(heard)}`);
      const recording = await this.#download(heard.data['original_audio_url']);
      if (!this.#isMine(recording, number))
        this.problems.push(`recording ${number} is not its own`);
    } else if (number === 1 || way !== 'text') this.problems.push(`turn ${number} was not heard`);

    const replies = of('tts_audio').map(({ data }) => data);
    const sounds: Sound[] = [];
    for (const [i, { ai_text, audio_url, index, is_last }] of replies.entries()) {
      const file = await this.#download(audio_url);
      const sound = { file, ...(readWav(file) ?? { pcm: new Uint8Array(), sampleRate: 0 }) };
      sounds.push(sound);
      if (index !== i || is_last !== (i === replies.length - 1)) {
        this.problems.push(`reply ${i} of turn ${number} is numbered ${String(index)}`);
      }
      if (!says(sound, String(ai_text), pitch)) {
        this.problems.push(`the sound of turn ${number} does not say ${String(ai_text)}`);
      }
    }
    const text = replies.map(({ ai_text }) => ai_text).join(' ');
    if (text !== replyTo(words, number)) this.problems.push(`turn ${number} was answered ${text}`);
    if (mode === 'video') await this.#checkVideo(number, of('task_result')[0]?.data, sounds);
  }

  async #checkVideo(
    number: number,
    result: Record<string, unknown> | undefined,
    sounds: readonly Sound[],
  ): Promise<void> {
    const stamp = stampOf(await this.#download(result?.['video_url']));
    const whole = wavFile(Buffer.concat(sounds.map(({ pcm }) => pcm)), sounds[0]?.sampleRate ?? 0);
    const expected = {
      task_id: String(result?.['task_id']),
      session_id: this.sessionId,
      image: this.#pictureHash,
      audio: sha256(whole),
    };
    if (JSON.stringify(stamp) === JSON.stringify(expected)) return;
    this.problems.push(
      `video ${number} is of ${JSON.stringify(stamp)}, not ${JSON.stringify(expected)}`,
    );
  }

  /** What the conversation of an account holds. */
  async #checkHistory(): Promise<void> {
    const { account } = this.options;
    if (account === undefined) return;
    const expected = this.#words.flatMap((words, i) => [
      { speaker: 'user', text: words },
      { speaker: 'ai', text: replyTo(words, i + 1) },
    ]);
    const path = `/api/conversations/${this.conversationId}/messages`;
    // a turn is written down when the client has its end
    for (const deadline = Date.now() + waitMs; ;) {
      const { body } = await account.rest.get<{ messages: { speaker: string; text: string }[] }>(
        path,
      );
      const found: { speaker: string; text: string }[] = [];
      for (const { speaker, text } of body.messages) {
        const last = found.at(-1);
        if (last?.speaker === speaker) last.text += ` ${text}`;
        else found.push({ speaker, text });
      }
      if (JSON.stringify(found) === JSON.stringify(expected)) return;
      if (found.length >= expected.length || Date.now() > deadline) {
        this.problems.push(`the conversation holds ${JSON.stringify(found)}`);
        return;
      }
    }
  }

  #isMine(recording: Buffer, number: 1 | 2): boolean {
    const own = this.#recordings[number - 1] as Buffer;
    if (number === 1 || this.options.way === 'upload') return recording.equals(own);
    const [got, sent] = [readWav(recording)?.pcm, readWav(own)?.pcm];
    return got !== undefined && sent !== undefined && Buffer.from(got).equals(sent);
  }

  /** Bare samples, a fifth of a second each. */
  #sendChunks(recording: Buffer): void {
    const pcm = Buffer.from(readWav(recording)?.pcm ?? []);
    for (let at = 0; at < pcm.length; at += 6400) {
      const chunk = pcm.subarray(at, at + 6400).toString('base64');
      this.#send('audio_stream_chunk', { chunk, is_last: at + 6400 >= pcm.length, format: 'pcm' });
    }
  }

  /** Waits for the end of a turn. */
  async #turn(number: number): Promise<void> {
    const isVideo = this.options.mode === 'video';
    await this.#next(
      isVideo ? 'task_result' : 'tts_audio',
      ({ turn_id, is_last }) => turn_id === number && (isVideo || is_last === true),
    );
  }

  #send(event: string, data: Record<string, unknown>): void {
    this.#client.send({ event, data });
  }

  async #next(
    event: string,
    fits: (data: Record<string, unknown>) => boolean = () => true,
  ): Promise<Frame> {
    const frame = await this.#client.next(
      (one) => {
        const { event: name, data } = one as unknown as Frame;
        if (name === 'error') throw new Error(`${this.name} got ${JSON.stringify(one)}`);
        return name === event && fits(data);
      },
      `${event} for ${this.name}`,
      waitMs,
    );
    return frame as unknown as Frame;
  }

  async #refusal(code: string): Promise<void> {
    const frame = await this.#client.next(
      ({ event }) => event === 'error' || event === 'asr_result' || event === 'tts_audio',
      `${code} for ${this.name}`,
      waitMs,
    );
    if ((frame as unknown as Frame).data['code'] !== code) {
      this.problems.push(`expected ${code}, got ${JSON.stringify(frame)}`);
    }
  }

  #expectClosed({ code, reason }: Closed, expected: number): void {
    if (code !== expected) this.problems.push(`closed with ${code} ${reason}`);
  }

  async #upload(content: Uint8Array, name: string): Promise<string> {
    const { body } = await upload(this.options.url, new Uint8Array(content), name);
    if (body.file_id === undefined) throw new Error(`upload refused: ${body.message}`);
    return body.file_id;
  }

  async #download(url: unknown): Promise<Buffer> {
    const response = await fetch(String(url));
    const body = Buffer.from(await response.arrayBuffer());
    if (!response.ok) this.problems.push(`${String(url)} answered ${response.status}`);
    return body;
  }
}
