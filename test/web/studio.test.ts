import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import t from 'tap';
import { projectRoot } from '../../src/paths.js';
import { findings } from '../helpers/accessibility.js';
import { TestBrowser, picture as screenshot } from '../helpers/browser.js';
import { tone } from '../helpers/samples.js';
import { Service, ownSettings } from '../helpers/stack.js';
import { taskJson, until } from '../helpers/redis.js';

const portraitFile = join(projectRoot, 'weights', 'bundled', 'samples', 'portrait.png');
const speech = (seconds: number) => ({
  name: 'speech.wav',
  mimeType: 'audio/wav',
  buffer: Buffer.from(tone(seconds)),
});

const browser = await TestBrowser.start(t);
const service = await Service.start(t, {
  ...(await ownSettings(t)),
  ...{ WORKER_DEVICES: 'sim:1', SIM_FRAME_MS: '20', MAX_AUDIO_SECONDS: '60', MAX_IMAGE_MB: '1' },
});
const url = `${service.url}/studio`;

async function choose(page: Page, seconds: number): Promise<void> {
  await page.getByLabel('Choose a picture, or drop it here').setInputFiles(portraitFile);
  await page.getByRole('img', { name: /portrait.png/ }).waitFor();
  await page.getByLabel('Choose a recording, or drop it here').setInputFiles(speech(seconds));
  await page.getByText(/speech.wav/).waitFor();
}

const render = (page: Page) => page.getByRole('button', { name: 'Render video' });
const card = (page: Page) => page.getByRole('listitem', { name: 'Video of portrait.png' }).first();
const videoWidth = (page: Page) =>
  page.evaluate<number>("document.querySelector('video')?.videoWidth ?? 0");

t.test('from two files to a video that is kept, shown and used again', async (t) => {
  const { page } = await browser.open(t, url);
  await page.getByText(/devices of this server are simulated/).waitFor();
  t.same(await findings(page), [], 'before');
  t.ok(await render(page).isDisabled());
  await choose(page, 1);
  await page.getByText('Settings', { exact: true }).click();
  await page.getByLabel('Steps').fill('0');
  await page.getByText('A whole number from 1 to 200.').waitFor();
  await page.getByText('One of the settings is out of range.').waitFor();
  t.ok(await render(page).isDisabled());
  await page.getByLabel('Steps').fill('4');
  await page.getByLabel('Seed').fill('7');
  await page.getByLabel('Size').selectOption('64');
  await screenshot(page, 'studio-form');
  await render(page).click();
  await card(page).getByRole('progressbar').waitFor();
  await screenshot(page, 'studio-progress');
  await until(async () => (await videoWidth(page)) === 64, 'the video, of the size that was asked');
  t.same(await findings(page), [], 'with a video');

  await card(page).getByText('Settings', { exact: true }).click();
  t.match(await card(page).getByRole('definition').allTextContents(), ['4', /default/, '7', '64']);
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    card(page).getByRole('link', { name: 'Download' }).click(),
  ]);
  t.match(
    readFileSync(await download.path())
      .subarray(4, 12)
      .toString(),
    'ftyp',
  );

  await page.reload();
  await until(async () => (await videoWidth(page)) === 64, 'the video, after a reload');
  await screenshot(page, 'studio-done');
  await card(page).getByRole('button', { name: 'Render again' }).click();
  t.equal(await page.getByLabel('Seed').inputValue(), '7');
  await render(page).click();
  await until(async () => (await page.locator('video').count()) === 2, 'a second video');
  const [first, second] = await Promise.all(
    [0, 1].map(async (i) => {
      const src = await page.locator('video').nth(i).getAttribute('src');
      return Buffer.from(await (await fetch(new URL(src ?? '', service.url))).arrayBuffer());
    }),
  );
  t.ok(first?.equals(second as Buffer), 'the same seed, the same video');

  await card(page)
    .getByRole('button', { name: /^Remove/ })
    .click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await until(async () => (await page.locator('video').count()) === 1, 'it is off the list');
});

t.test('what goes wrong, and how it is said', async (t) => {
  const expected = (complaint: string) => /404|ERR_INTERNET/.test(complaint);
  const { page } = await browser.open(t, url, { expected });
  await page.getByText(/simulated/).waitFor();
  const [image, audio] = [
    page.locator('input[type=file]').nth(0),
    page.locator('input[type=file]').nth(1),
  ];
  const file = (name: string, mimeType: string, buffer: Buffer) => ({ name, mimeType, buffer });
  const says = (text: RegExp) => page.getByRole('alert').filter({ hasText: text }).waitFor();
  await image.setInputFiles(file('a.png', 'image/png', Buffer.from('no picture')));
  await says(/picture cannot be read/);
  await image.setInputFiles(file('a.png', 'image/png', Buffer.alloc(2 * 1024 * 1024)));
  await says(/too large.*1 MB at most/);
  await audio.setInputFiles(file('a.txt', 'text/plain', Buffer.from('words')));
  await says(/kind of file cannot be used/);
  await audio.setInputFiles(speech(61));
  await says(/too long.*60 seconds at most/);
  await screenshot(page, 'studio-errors');

  await choose(page, 1);
  await audio.setInputFiles(file('silence.wav', 'audio/wav', Buffer.from(tone(1, 16000, 0))));
  await page.getByText(/silence.wav/).waitFor();
  await render(page).click();
  await card(page)
    .getByText(/recording is silent/)
    .waitFor();
  await screenshot(page, 'studio-failed');

  await page.context().setOffline(true);
  await render(page).click();
  await says(/server cannot be reached/);
  await page.context().setOffline(false);

  await card(page).getByRole('button', { name: 'Render again' }).click();
  const tasks = await page.evaluate<string[]>('Object.values(localStorage)');
  const kept = tasks.find((text) => text.includes('imageId')) ?? '{}';
  const { imageId } = JSON.parse(kept) as { imageId: string };
  await fetch(`${service.url}/api/tempfile/delete/${imageId}`, { method: 'DELETE' });
  await render(page).click();
  await says(/files are not there any more/i);
  await page.getByText('A portrait and a recording are needed.').waitFor();
});

t.test('a size that the model of a worker does not take', async (t) => {
  await service.push(taskJson('large', { size: 512 }));
  t.match(await service.end('large'), { code: 'TASK_INVALID', error: /64 to 128, not 512/ });
});

t.test('a page that is left in the middle, a task that is cancelled', async (t) => {
  const { page } = await browser.open(t, url, { viewport: { width: 360, height: 740 } });
  await choose(page, 50);
  await render(page).click();
  await card(page).getByText('Rendering').waitFor();
  await page.reload();
  await card(page).getByText('Rendering').waitFor();
  const bar = card(page).getByRole('progressbar');
  const value = async () => Number(await bar.getAttribute('value'));
  const before = await value();
  await until(async () => (await value()) > before, 'it goes on');
  t.same(await findings(page), [], 'on a phone');
  await screenshot(page, 'studio-phone');
  const wide = await page.evaluate<boolean>(
    'document.documentElement.scrollWidth > document.documentElement.clientWidth',
  );
  t.notOk(wide, 'nothing is wider than the phone');
  await card(page).getByRole('button', { name: 'Cancel' }).click();
  await card(page).getByText('Cancelled', { exact: true }).waitFor();
});

t.test('a recording of one’s own, in Chinese', async (t) => {
  const { page } = await browser.open(t, url, { locale: 'zh-CN', colorScheme: 'dark' });
  await page.getByRole('button', { name: '自己录音' }).click();
  await page.getByText(/^1\.\d s$/).waitFor();
  await screenshot(page, 'studio-recording-zh');
  await page.getByRole('button', { name: '完成' }).click();
  await page.locator('audio').waitFor();
  await page.getByLabel('选择图片，或拖放到这里').setInputFiles(portraitFile);
  await page.getByRole('button', { name: '生成视频' }).click();
  await page.locator('video').waitFor();
  t.same(await findings(page), [], 'in the dark');
  await screenshot(page, 'studio-zh');
});
