import type { Readable } from 'node:stream';
import t from 'tap';
import { FolderShelf } from '../../src/tempfile/folder.js';
import { storedRecording } from '../../src/tempfile/recording.js';
import { TempFileStore } from '../../src/tempfile/store.js';
import { temporaryFolder } from '../helpers/folder.js';
import { refusal } from '../helpers/media.js';
import { tone } from '../helpers/samples.js';

t.test('a recording that nobody wants any more leaves no file open', async (t) => {
  const shelf = new FolderShelf(await temporaryFolder(t), 'test');
  const opened: Readable[] = [];
  shelf.read = async (...args) => {
    const stream = await FolderShelf.prototype.read.apply(shelf, args);
    if (stream !== undefined) opened.push(stream);
    return stream;
  };
  const maxBytes = { image: 1e6, audio: 1e6, video: 1e6 };
  const store = new TempFileStore(shelf, { expiryMs: 60_000, maxBytes });
  const record = await store.save([tone(0.1)] as never, 'a');
  const film = { ...record, type: 'video' as const };
  await t.rejects(storedRecording(store, film, { signal: AbortSignal.abort() }));
  t.equal(opened.length, 1);
  t.ok(opened[0]?.destroyed);
  t.equal((await refusal(storedRecording(store, record))).code, 'accepted');
});
