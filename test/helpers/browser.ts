import { existsSync, mkdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, type BrowserContextOptions, type Page, chromium } from 'playwright-core';
import type { Test } from 'tap';

/** How a microphone that nobody speaks into is given to pages; `speech` is a WAV it plays. */
export interface BrowserOptions {
  readonly speech?: string;
}

export interface Visit {
  readonly page: Page;
  /** What went wrong in the page so far: messages of the console, exceptions, broken policies. */
  readonly complaints: string[];
}

/** Names under which Debian, other systems and people install the browser. */
const programs = ['chromium', 'chromium-browser', 'google-chrome'];

/** Debian's Chromium without a screen; one per test file, with a fresh profile. */
export class TestBrowser {
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(t: Test, { speech }: BrowserOptions = {}): Promise<TestBrowser> {
    const browser = await chromium.launch({
      executablePath: programPath(),
      headless: true,
      args: [
        ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
        ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
        ...['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'],
        ...['--autoplay-policy=no-user-gesture-required'],
        ...(speech === undefined ? [] : [`--use-file-for-fake-audio-capture=${speech}`]),
      ],
    });
    t.teardown(() => browser.close());
    return new TestBrowser(browser);
  }

  /**
   * A page in a profile of its own. What it complains of fails the test, unless `expected` says
   * that it belongs to what is tested.
   */
  async open(
    t: Test,
    url: string,
    options: BrowserContextOptions & { expected?: (complaint: string) => boolean } = {},
  ): Promise<Visit> {
    const { expected = () => false, ...context } = options;
    const profile = await this.#browser.newContext({
      locale: 'en-GB',
      permissions: ['microphone'],
      ...context,
    });
    const complaints: string[] = [];
    const page = await profile.newPage();
    // Speech is recognised, and videos are made, beside other tests.
    page.setDefaultTimeout(90_000);
    const complain = (what: string) => {
      if (!expected(what)) complaints.push(what);
    };
    // A broken policy is told as an error of the console.
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complain(message.text());
    });
    page.on('pageerror', (error) => complain(String(error.stack ?? error)));
    t.teardown(async () => {
      await profile.close();
      // The test is over, so an assertion would come too late.
      if (complaints.length > 0) throw new Error(`the page complained: ${complaints.join('; ')}`);
    });
    await page.goto(url);
    return { page, complaints };
  }
}

/** Keeps pictures of a page where the environment names a folder for them, for people to look at. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env['TEST_SCREENSHOTS'];
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}

function programPath(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  for (const program of programs) {
    for (const folder of folders) {
      const path = join(folder, program);
      if (existsSync(path)) return path;
    }
  }
  throw new Error(`none of ${programs.join(', ')} is installed: run "npm run setup -- --tests"`);
}
