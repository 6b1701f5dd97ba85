import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { FolderShelf } from '../../src/tempfile/folder.js';
import { type StoreOptions, TempFileStore } from '../../src/tempfile/store.js';
import { temporaryFolder } from '../helpers/app.js';
import { encoded, picture, tone } from '../helpers/samples.js';
import { places } from '../helpers/stores.js';

const MiB = 1024 * 1024;

async function* stream(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

const options = { expiryMs: 60_000, maxBytes: { image: MiB, audio: MiB, video: MiB } };

for (const place of await places(t)) {
  void t.test(`on a ${place.name}`, async (t) => {
    const open = async (t: Test, more: Partial<StoreOptions> = {}) => {
      const { shelf, names } = await place.shelf(t);
      const store = new TempFileStore(shelf, { ...options, ...more });
      await store.open();
      return { store, names };
    };

    await t.test('every listed type is told by its content', async (t) => {
      const folder = await temporaryFolder(t);
      const { store } = await open(t);
      const sound = ['-map', '0:a'];
      const film = ['-map', '0:a', '-map', '1:v'];
      const still = ['-map', '1:v', '-frames:v', '1'];
      const cases: [string, string, string[]][] = [
        ...['mp3', 'wav', 'ogg', 'opus', 'aac', 'm4a', 'flac'].map(
          (extension): [string, string, string[]] => [extension, 'audio', sound],
        ),
        ['webm', 'audio', [...sound, '-c:a', 'libopus']],
        ['mkv', 'audio', sound],
        ['mp4', 'audio', sound],
        ...['mp4', 'avi', 'mov', 'wmv', 'mpg', 'm4v', 'mkv'].map(
          (extension): [string, string, string[]] => [extension, 'video', film],
        ),
        ['flv', 'video', [...film, '-ar', '44100']],
        ['webm', 'video', [...film, '-c:v', 'vp8', '-c:a', 'libopus']],
        ['gif', 'image', ['-map', '1:v']],
        ...['png', 'jpg', 'webp'].map((extension): [string, string, string[]] => [
          extension,
          'image',
          still,
        ]),
      ];
      const contents = encoded(
        folder,
        cases.map(([extension, type, args]) => [`${type}.${extension}`, args]),
      );
      for (const [i, [extension, type]] of cases.entries()) {
        const content = contents[i] as Uint8Array;
        const record = await store.save(stream(content), 'whatever.txt');
        t.equal(record.type, type, `${extension} of ${type}`);
        t.equal(record.bytes, content.length);
      }
    });

    await t.test('a file may be given its id beforehand, once', async (t) => {
      const { store, names } = await open(t);
      const id = randomUUID();
      const options = { id, isDurable: false };
      t.equal((await store.save(stream(tone(0.1)), 'a.wav', options)).id, id);
      t.equal((await store.find(id))?.bytes, tone(0.1).length);
      t.equal((await store.save(stream(tone(0.1)), 'b.wav', options)).originalName, 'a.wav');
      await t.rejects(store.save(stream(tone(0.2)), 'b.wav', options), { code: 'FILE_EXISTS' });
      const record = await store.find(id);
      t.equal(record?.bytes, tone(0.1).length, 'the first one stays');
      t.same(new Uint8Array(await buffer(await store.read(record!))), tone(0.1));
      t.same(await names(), [id], 'nothing is left of the others');
    });

    await t.test('expired files go, also from the middle of a large folder', async (t) => {
      let now = Date.now();
      const { store, names } = await open(t, { expiryMs: 1000, now: () => now });
      const old = await store.save(stream(await picture()), 'a.png');
      now += 999;
      const young = await store.save(stream(tone(0.1)), 'b.wav');
      t.not(await store.find(old.id), undefined);
      now += 1;
      t.equal(await store.find(old.id), undefined, 'an expired file is gone before the sweep');
      t.equal(await store.remove(old.id), false, 'and cannot be deleted any more');
      const older = await store.save(stream(await picture()), 'a.png');
      now += 999;
      t.equal(await store.sweep(), 1);
      t.same(await names(), [older.id]);
      t.equal(await store.find(young.id), undefined);
    });

    await t.test(
      'large files pass through in pieces, and any part of them comes back',
      async (t) => {
        const { store, names } = await open(t, {
          maxBytes: { image: MiB, audio: 64 * MiB, video: MiB },
        });
        const wav = tone(600);
        const pieces = (async function* () {
          for (let at = 0; at < wav.length; at += 300_000) yield wav.subarray(at, at + 300_000);
        })();
        const record = await store.save(pieces, 'long.wav');
        t.equal(record.bytes, wav.length);
        t.ok((await buffer(await store.read(record))).equals(wav));
        const range = { start: 9_000_001, end: 9_000_010 };
        t.same(
          new Uint8Array(await buffer(await store.read(record, range))),
          wav.slice(9_000_001, 9_000_011),
        );
        const broken = (async function* () {
          yield wav.subarray(0, 10_000_000);
          throw new Error('line cut');
        })();
        await t.rejects(store.save(broken, 'a.wav'), { message: 'line cut' });
        t.equal(await store.removeMany([record.id, record.id, randomUUID()]), 1);
        t.same(await names(), []);
        await t.rejects(store.read(record), { code: 'FILE_NOT_FOUND' });
      },
    );

    await t.test(
      'a file being written is not swept; a failing source leaves nothing',
      async (t) => {
        const { store, names } = await open(t);
        const wav = tone(0.5);
        const record = await store.save(
          (async function* () {
            yield wav.slice(0, 5000);
            t.equal(await store.sweep(), 0);
            yield wav.slice(5000);
          })(),
          'a.wav',
        );
        t.equal(record.bytes, wav.length);
        const broken = (async function* () {
          yield wav.slice(0, 5000);
          throw new Error('line cut');
        })();
        await t.rejects(store.save(broken, 'a.wav'), { message: 'line cut' });
        t.same(await names(), [record.id]);
      },
    );
  });
}

void t.test('abandoned parts of a folder go, live ones and foreign ones stay', async (t) => {
  const folder = await temporaryFolder(t);
  const store = new TempFileStore(new FolderShelf(folder, 'here'), options);
  await store.open();
  const young = await store.save(stream(tone(0.1)), 'b.wav');

  const id = '550e8400-e29b-41d4-a716-44665544000';
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  const stale = (name: string) =>
    mkdir(join(folder, name)).then(() => writeFile(join(folder, name, 'data'), 'x'));
  await stale(`${id}1.here.${dead}.part`);
  await stale(`${id}2.here.${process.pid}.part`);
  await stale(`${id}3.here.${process.ppid}.part`);
  await stale(`${id}4.there.1.part`);
  await stale(`${id}5.there.1.part`);
  await utimes(join(folder, `${id}5.there.1.part`), 1, 1);
  await stale(`${id}6`);
  await writeFile(join(folder, 'README'), 'not ours');
  await store.sweep();
  t.same(
    new Set(await readdir(folder)),
    new Set([young.id, `${id}3.here.${process.ppid}.part`, `${id}4.there.1.part`, 'README']),
  );
});
