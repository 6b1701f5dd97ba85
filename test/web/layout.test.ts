import t from 'tap';
import { startApp } from '../helpers/app.js';
import { TestBrowser } from '../helpers/browser.js';

const browser = await TestBrowser.start(t);

t.test('pages, languages and colours are changed, and kept', async (t) => {
  const { url } = await startApp(t);
  // Without a Redis there is nothing behind the studio and the operator's page.
  const expected = (complaint: string) => /status of (404|503)/.test(complaint);
  const { page } = await browser.open(t, url, { expected });
  const html = page.locator('html');
  t.equal(await html.getAttribute('lang'), 'en');

  await page.getByRole('link', { name: 'Studio' }).click();
  await page.getByRole('heading', { level: 1, name: 'Studio' }).waitFor();
  t.equal(new URL(page.url()).pathname, '/studio');
  t.match(await page.title(), /^Studio/);
  await page.goBack();
  await page
    .getByRole('link', { name: 'Talk', exact: true })
    .and(page.locator('[aria-current=page]'))
    .waitFor();

  await page.getByLabel('Language').selectOption('zh');
  await page.getByRole('link', { name: '工作室' }).waitFor();
  t.equal(await html.getAttribute('lang'), 'zh-Hans');
  await page.getByLabel('配色').selectOption('dark');
  await page.reload();
  await page.getByRole('link', { name: '工作室' }).waitFor();
  t.equal(await html.getAttribute('data-theme'), 'dark');
  await page.goto(`${url}/operator`);
  await page.getByRole('heading', { level: 1 }).waitFor();
});

t.test('the language of the browser is spoken first', async (t) => {
  const { url } = await startApp(t);
  const { page } = await browser.open(t, url, { locale: 'zh-CN' });
  await page.getByRole('link', { name: '对话' }).waitFor();
});

t.test('the description of the API keeps its own policy', async (t) => {
  const { url } = await startApp(t);
  const { page } = await browser.open(t, `${url}/docs`);
  await page.getByRole('button', { name: /^POST .*tempfile.upload/ }).click();
  await page.getByRole('button', { name: 'Try it out' }).waitFor();
});
