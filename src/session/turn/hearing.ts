import { CodedError } from '../../errors.js';
import { durationOf, recordingOf } from '../../media/recording.js';
import type { Recording } from '../../speech/speech.js';
import { storedRecording } from '../../tempfile/recording.js';
import { unlessAborted } from '../../abort.js';
import type { Charge, RunningTurn, TurnInput } from '../core/host.js';

/** What a recording says. */
export interface Heard {
  /** Undefined when the recogniser knows no words (`parrot`). */
  readonly text: string | undefined;
  readonly fileId: string;
  /** Settles when the file can be fetched. */
  readonly saved: Promise<unknown>;
  readonly seconds: number;
  readonly charge: Charge | undefined;
}

interface Stored {
  readonly recording: Recording;
  readonly fileId: string;
  /** Settles when the file can be fetched. */
  readonly saved: Promise<unknown>;
}

/** Takes the recording, pays for it and has it recognised. */
export async function hear(
  turn: RunningTurn,
  input: Extract<TurnInput, { type: 'upload' | 'recording' }>,
): Promise<Heard> {
  const { signal, session } = turn;
  const { recogniser, config } = session.services;
  const { recording, fileId, saved } =
    input.type === 'upload' ? await uploaded(turn, input.fileId) : await recorded(turn, input);
  session.progress(turn, 'recognising');
  saved.catch(() => undefined);

  const { maxAudioSeconds } = config.tasks;
  const seconds = await durationOf(recording, { signal, maxSeconds: maxAudioSeconds });
  const charge = await unlessAborted(
    turn.reserve({ messages: 1, audio_seconds: Math.ceil(seconds) }),
    signal,
  );
  // only a service that fetches the recording itself has to wait for its file
  if (config.isPublic) await saved;
  const publicUrl = config.isPublic ? session.files.url(fileId) : undefined;
  const language = session.setup.role.language ?? undefined;
  const text = await unlessAborted(
    recogniser.recognise({ ...recording, publicUrl }, { signal, language }),
    signal,
  );
  if (text !== undefined && text.trim() === '') {
    throw new CodedError(
      'SPEECH_NOT_UNDERSTOOD',
      'no words were recognised in the recording; speak louder or nearer and try again',
    );
  }
  return { text: text?.trim(), fileId, saved, seconds, charge };
}

async function uploaded(turn: RunningTurn, fileId: string): Promise<Stored> {
  const { session, signal } = turn;
  const { store } = session.services;
  session.progress(turn, 'recognising');
  const record = await unlessAborted(session.files.use(fileId, ['audio', 'video']), signal);
  const { maxAudioSeconds: maxSeconds } = session.services.config.tasks;
  const read = storedRecording(store, record, { signal, maxSeconds });
  return { recording: await unlessAborted(read, signal), fileId, saved: Promise.resolve() };
}

async function recorded(
  turn: RunningTurn,
  input: Extract<TurnInput, { type: 'recording' }>,
): Promise<Stored> {
  turn.session.progress(turn, 'recording');
  const arrived = await unlessAborted(input.recording, turn.signal);
  const recording = await recordingOf(arrived.data, { sampleRate: arrived.sampleRate });
  const { id, saved } = turn.save(recording.data, `recording.${recording.extension}`);
  return { recording, fileId: id, saved };
}
