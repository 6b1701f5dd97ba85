import type { Recogniser } from './speech.js';

/** Knows no words: whoever listens to it answers with the recording itself. */
export const parrot: Recogniser = {
  name: 'parrot',
  recognise: async (_recording, { signal }) => {
    signal.throwIfAborted();
    return undefined;
  },
};
