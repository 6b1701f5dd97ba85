import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../../src/paths.js';
import { readWav } from '../../src/media/wav.js';
import { temporaryFolder } from '../helpers/folder.js';
import { tone } from '../helpers/samples.js';
import { startSmallestClipWorker } from '../helpers/smallest-clip.js';
import { startSessions } from '../session/session-helper.js';

t.test('npm run talk has one turn and keeps the answer', async (t) => {
  const server = await startSessions(t);
  await startSmallestClipWorker(t, server.settings, [0]);
  const folder = await temporaryFolder(t);
  const talk = (...args: string[]) =>
    new Promise<{ code: number; out: string; complaint: string }>((resolve) =>
      execFile(
        process.execPath,
        [join(projectRoot, 'dist', 'scripts', 'talk.js'), '--url', server.url, ...args],
        (error, out, complaint) =>
          resolve({ code: error === null ? 0 : Number(error.code), out, complaint }),
      ),
    );

  const voice = await talk('--mode', 'voice', '--out', folder, 'Good morning.', 'How are you?');
  t.match(voice, { code: 0, out: /Clara: Good morning\. .*\nClara: How are you\? .*talk-2\.wav/ });
  for (const name of ['talk-1.wav', 'talk-2.wav']) {
    t.ok((readWav(await readFile(join(folder, name)))?.pcm.length ?? 0) > 16000, name);
  }

  const recording = join(folder, 'mine.wav');
  await writeFile(recording, tone(0.5));
  const video = await talk('--audio', recording, '--role', 'maya', '--out', folder);
  t.match(video, { code: 0, out: /You: \nMaya: .*\nvideo: .*talk\.mp4\n$/ });
  t.match((await readFile(join(folder, 'talk.mp4'))).toString('latin1', 4, 8), 'ftyp');
  t.same(await readFile(join(folder, 'talk-1.wav')), Buffer.from(tone(0.5)), 'the user, parroted');
  await server.empty();

  t.match(await talk('--role', 'nobody', 'Hello.'), { code: 1, complaint: /^ROLE_NOT_FOUND: / });
  t.match(await talk('--url', 'http://127.0.0.1:1', 'Hello.'), {
    code: 1,
    complaint: /^NOT_FOUND: .*npm start/,
  });
  t.match(await talk(), { code: 2, complaint: /npm run talk/ });
});
