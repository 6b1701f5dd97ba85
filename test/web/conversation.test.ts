import { join } from 'node:path';
import type { Page } from 'playwright-core';
import t from 'tap';
import { projectRoot } from '../../src/paths.js';
import { TestBrowser, picture } from '../helpers/browser.js';
import { startLine } from '../helpers/line.js';
import { Service, ownSettings } from '../helpers/stack.js';
import { until } from '../helpers/until.js';

// What Chromium says by itself when a request is refused, or its line breaks.
const refused = (complaint: string) => /^Failed to load resource/.test(complaint);
const broken = (complaint: string) => refused(complaint) || /^WebSocket connection/.test(complaint);

const speech = join(projectRoot, 'weights', 'bundled', 'samples', 'speech.wav');
const service = await Service.start(t, {
  ...(await ownSettings(t)),
  ...{ WORKER_DEVICES: 'sim:1', SIM_FRAME_MS: '3', ASR: 'command' },
  ASR_COMMAND: 'pocketsphinx_continuous -infile {input} -logfn /dev/null',
});
const browser = await TestBrowser.start(t, { speech });

async function begin(page: Page, name: string): Promise<void> {
  await page.getByRole('radio', { name }).check();
  await page.getByRole('button', { name: 'Begin' }).click();
  await page.getByRole('heading', { name, level: 1 }).waitFor();
}

async function type(page: Page, text: string): Promise<void> {
  await page.getByLabel('Write a message').fill(text);
  await page.keyboard.press('Enter');
}

/** The video in place of the portrait, once it has been played to its end. */
async function playedVideo(page: Page) {
  const video = page.locator('.portrait video');
  return video.evaluate(
    (one) =>
      new Promise<{ seconds: number; width: number; cues: string[] }>((resolve, reject) => {
        const element = one as unknown as {
          ended: boolean;
          duration: number;
          videoWidth: number;
          textTracks: { cues: { text: string }[] | null }[];
          addEventListener(name: string, listener: () => void): void;
        };
        const done = () =>
          resolve({
            ...{ seconds: element.duration, width: element.videoWidth },
            cues: [...(element.textTracks[0]?.cues ?? [])].map(({ text }) => text),
          });
        element.addEventListener('error', () => reject(new Error('the video cannot be played')));
        if (element.ended) done();
        else element.addEventListener('ended', done);
      }),
  );
}

t.test('a conversation: typed, spoken, stopped, refused, and loaded again', async (t) => {
  const { page } = await browser.open(t, service.url, { expected: refused });
  await begin(page, 'Maya');

  await type(page, 'Good day. Nice weather.');
  const replies = page
    .getByRole('article')
    .filter({ has: page.getByRole('heading', { name: 'Maya' }) });
  await replies.getByText('Good day. Nice weather.').waitFor();
  await page.getByRole('progressbar').waitFor();
  await picture(page, 'rendering');
  const { seconds, width, cues } = await playedVideo(page);
  t.ok(seconds > 0.5 && width > 0);
  t.same(cues, ['Good day.', 'Nice weather.']);
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download video' }).click();
  t.match((await download).suggestedFilename(), /\.mp4$/);

  // A space begins a recording and, on the button that it leads to, ends it.
  await page.getByRole('heading', { level: 1 }).click();
  await page.keyboard.press('Space');
  await page.getByRole('group', { name: 'Recording' }).getByText('0:03').waitFor();
  await picture(page, 'recording');
  await page.keyboard.press('Space');
  const said = page
    .getByRole('article')
    .filter({ has: page.getByRole('heading', { name: 'You' }) });
  await said.nth(1).getByRole('button', { name: 'Hear it' }).waitFor();
  t.match(await said.nth(1).locator('p').innerText(), /^[a-z' ]+$/, 'the words are recognised');
  await page.getByRole('progressbar').waitFor();
  await page.getByRole('button', { name: 'Stop' }).click();
  await replies.nth(1).getByText('Stopped.').waitFor();

  await page.locator('.composer input[type=file]').setInputFiles({
    ...{ name: 'letter.txt', mimeType: 'text/plain', buffer: Buffer.from('no sound at all') },
  });
  await page.getByRole('alert').getByText('This kind of file cannot be used').waitFor();
  await picture(page, 'refused');

  await page.reload();
  await page.getByText('Stopped.').waitFor();
  await page.getByRole('alert').waitFor();
  // The files of the session are still there.
  await page.getByRole('button', { name: 'Show video' }).click();
  const isPlaying = () =>
    page.evaluate(`document.querySelector('.portrait video')?.videoWidth > 0`);
  await until(async () => (await isPlaying()) === true, 'the video is there again');
  await type(page, 'Back again.');
  await replies.nth(2).getByRole('button', { name: 'Show video' }).waitFor();
  await page.getByRole('button', { name: 'End', exact: true }).click();
  await page.getByRole('heading', { name: 'Who would you like to talk to?' }).waitFor();
});

t.test('a line that breaks in the middle of a turn loses nothing of it', async (t) => {
  const line = await startLine(t, Number(new URL(service.url).port));
  const url = `http://127.0.0.1:${line.port}`;
  const { page } = await browser.open(t, url, { expected: broken });
  await begin(page, 'Clara');
  await type(page, 'Something long enough to be interrupted.');
  await page.getByRole('progressbar').waitFor();
  line.cut();
  await page.getByText('The line is away').waitFor();
  await type(page, 'And one more.');
  await picture(page, 'away');
  line.restore();
  await page.getByText('The line is away').waitFor({ state: 'detached' });
  const videos = page.getByRole('button', { name: 'Show video' });
  await videos.nth(1).waitFor();
  t.equal(await page.getByRole('alert').count(), 0);
  t.equal(await page.getByRole('article').count(), 4, 'every word once');
});

t.test('a portrait of one’s own, for one conversation', async (t) => {
  const { page } = await browser.open(t, service.url, { viewport: { width: 360, height: 740 } });
  await page.getByRole('button', { name: 'Your own portrait' }).click();
  const window = page.getByRole('dialog');
  await window
    .getByLabel('Choose a picture, or drop it here')
    .setInputFiles(join(projectRoot, 'weights', 'bundled', 'samples', 'portrait-2.png'));
  await window.getByRole('img', { name: 'The picture that you chose' }).waitFor();
  await window.getByRole('button', { name: 'Begin' }).click();
  await window.getByText('Please confirm that the person in the picture agrees.').waitFor();
  await window.getByLabel(/agrees that it is animated/).check();
  await window.getByRole('button', { name: 'Begin' }).click();
  await page.getByRole('img', { name: 'Portrait of Your portrait' }).waitFor();
  await type(page, 'Hello.');
  await page.getByRole('button', { name: 'Show video' }).waitFor();
  const excess = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
  t.equal(excess, 0, 'nothing is wider than a phone');
});
