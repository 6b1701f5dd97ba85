import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import t, { type Test } from 'tap';
import { projectRoot } from '../../src/paths.js';
import { findings } from '../helpers/accessibility.js';
import { TestBrowser, picture } from '../helpers/browser.js';
import { tone } from '../helpers/samples.js';
import { Service, ownSettings } from '../helpers/stack.js';
import { until } from '../helpers/until.js';
import { startSessions } from '../session/session-helper.js';

const browser = await TestBrowser.start(t);
const refused = (complaint: string) => /^Failed to load resource/.test(complaint);

/** Presses Tab until what has the focus is so called, as someone without a mouse would. */
async function tabTo(page: Page, name: string): Promise<void> {
  const called = `(() => {
    const { activeElement: one } = document;
    return one?.getAttribute('aria-label') || one?.labels?.[0]?.textContent || one?.textContent || '';
  })()`;
  const passed: string[] = [];
  for (let i = 0; i < 40; i++) {
    await page.keyboard.press('Tab');
    const now = await page.evaluate<string>(called);
    if (now.trim().startsWith(name)) return;
    passed.push(now);
  }
  throw new Error(`Tab never came to ${name}: ${passed.join(' | ')}`);
}

async function inBothThemes(t: Test, page: Page, what: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    t.same(await findings(page), [], `${what} is for everyone, in ${colorScheme}`);
    await picture(page, `${what}-${colorScheme}`);
  }
}

t.test('with a login: by keyboard, kept, and found again in Chinese', async (t) => {
  const server = await startSessions(t, { AUTH: 'required' });
  const { page } = await browser.open(t, server.url, { expected: refused });
  await page.getByRole('radio', { name: 'Clara' }).waitFor();
  await inBothThemes(t, page, 'choose');

  await tabTo(page, 'Clara');
  await page.keyboard.press('ArrowRight');
  t.ok(await page.getByRole('radio', { name: 'Maya' }).isChecked());
  await tabTo(page, 'Video');
  await page.keyboard.press('ArrowRight');
  t.ok(await page.getByRole('radio', { name: 'Voice' }).isChecked());
  await tabTo(page, 'Begin');
  await page.keyboard.press('Enter');

  const window = page.getByRole('dialog', { name: 'Log in' });
  await window.getByText('Log in to talk on this server.').waitFor();
  await window.getByLabel('Name').fill('ann');
  await window.getByLabel('Password').fill('wrong horse');
  await page.keyboard.press('Enter');
  await window.getByRole('alert').getByText('Name or password is wrong.').waitFor();
  await inBothThemes(t, page, 'login');
  await window.getByRole('radio', { name: 'New account' }).check();
  t.equal(await window.getByRole('alert').count(), 0, 'what was wrong belongs to the other form');
  await page.getByRole('button', { name: 'New account' }).click();

  await page.getByRole('heading', { name: 'Maya', level: 1 }).waitFor();
  t.equal(
    await page.evaluate('document.activeElement.textContent'),
    'Maya',
    'the focus is where the talk begins',
  );
  await tabTo(page, 'Write a message');
  await page.keyboard.type('What a fine day.');
  await page.keyboard.press('Enter');
  await page.getByRole('article').getByRole('button', { name: 'Hear again' }).waitFor();
  await inBothThemes(t, page, 'talk');
  await page.getByRole('button', { name: 'End', exact: true }).click();

  await page.getByLabel('Language').selectOption('zh');
  await page.getByRole('heading', { name: '以往的对话' }).waitFor();
  await inBothThemes(t, page, 'history');
  await page.getByRole('button', { name: '重命名“What a fine day.”' }).click();
  await page.getByLabel('新标题').fill('天气');
  await page.keyboard.press('Enter');
  const file = page.waitForEvent('download');
  await page.getByRole('button', { name: '将“天气”导出为文本文件' }).click();
  t.match(readFileSync(await (await file).path(), 'utf8'), /What a fine day/);
  await page.getByRole('button', { name: '继续“天气”' }).click();
  await page.getByRole('article').getByText('What a fine day.').nth(1).waitFor();
  await page.getByRole('button', { name: '结束', exact: true }).click();
  await page.getByRole('button', { name: '删除“天气”' }).click();
  await page.getByRole('dialog').getByRole('button', { name: '删除' }).last().click();
  await page.getByRole('heading', { name: '以往的对话' }).waitFor({ state: 'detached' });

  await page.getByRole('button', { name: '退出' }).click();
  await page.getByRole('button', { name: '登录' }).waitFor();
});

t.test('a server with API_TOKEN: whoever logs in sends, hears and sees', async (t) => {
  const service = await Service.start(t, {
    ...(await ownSettings(t)),
    ...{ WORKER_DEVICES: 'sim:1', SIM_FRAME_MS: '3', API_TOKEN: 'the-token-of-all-programs' },
  });
  const portrait = join(projectRoot, 'weights', 'bundled', 'samples', 'portrait.png');
  const shown = (page: Page, what: string, part: string) =>
    until(() => page.evaluate<boolean>(`document.querySelector('${what}')?.${part} > 0`), what);
  const kept = async (page: Page, name: string) => {
    const file = page.waitForEvent('download');
    await page.getByRole('link', { name }).click();
    const head = readFileSync(await (await file).path()).subarray(4, 8);
    t.equal(head.toString(), 'ftyp', 'the video');
  };
  const { page } = await browser.open(t, service.url);
  await page.getByText('only after a login').waitFor();
  await page.getByRole('button', { name: 'Your own portrait' }).click();
  const window = page.getByRole('dialog', { name: 'Log in' });
  await window.getByRole('radio', { name: 'New account' }).check();
  await page.getByLabel('Name').fill('ann');
  await page.getByLabel('Password').fill('correct horse');
  await page.keyboard.press('Enter');
  await page.getByLabel('Choose a picture, or drop it here').setInputFiles(portrait);
  await page.getByLabel('Name').fill('Nora');
  await page.getByLabel(/agrees that it is animated/).check();
  await page.getByRole('button', { name: 'Make this role' }).click();
  await page.getByRole('radio', { name: 'Nora' }).waitFor();
  await page.getByRole('button', { name: 'Begin' }).click();
  await page.getByLabel('Write a message').fill('Good day.');
  await page.keyboard.press('Enter');
  await page.locator('.is-spoken').waitFor();
  await shown(page, '.portrait video', 'videoWidth');
  await kept(page, 'Download video');
  await page.getByRole('button', { name: 'End', exact: true }).click();

  await page.getByRole('link', { name: 'Studio' }).click();
  await page.getByLabel('Choose a picture, or drop it here').setInputFiles(portrait);
  const speech = { name: 'speech.wav', mimeType: 'audio/wav', buffer: Buffer.from(tone(0.5)) };
  await page.getByLabel('Choose a recording, or drop it here').setInputFiles(speech);
  await page.getByRole('button', { name: 'Render video' }).click();
  await shown(page, '.studio-video', 'videoWidth');
  await kept(page, 'Download');
  await page.reload();
  await shown(page, '.studio-video', 'videoWidth');
  await page.getByRole('button', { name: 'Render again' }).click();
  await shown(page, '.studio-portrait', 'naturalWidth');
  await shown(page, '.studio-audio audio', 'duration');
});
