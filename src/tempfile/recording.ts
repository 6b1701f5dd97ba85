import { buffer } from 'node:stream/consumers';
import { soundOfStream } from '../media/recording.js';
import type { DecodeOptions } from '../media/audio.js';
import type { Recording } from '../speech/speech.js';
import type { FileRecord, TempFileStore } from './store.js';

/** A larger upload is only read as the sound in it, which is limited by its length. */
const mostInMemory = 32 * 1024 * 1024;

/** The recording in a stored file; of a film, and of a large file, its sound alone. */
export async function storedRecording(
  store: TempFileStore,
  record: FileRecord,
  options: DecodeOptions = {},
): Promise<Recording> {
  const source = await store.read(record);
  try {
    if (record.type === 'video' || record.bytes > mostInMemory) {
      return await soundOfStream(source, options);
    }
    const { mime, extension } = record;
    return { data: await buffer(source), mime, extension };
  } finally {
    // a turn that was cut may not have begun to read
    source.destroy();
  }
}
