import type { FastifyInstance } from 'fastify';
import type { Test } from 'tap';
import { buildApp } from '../../src/app.js';
import { type Config, loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { watchAnswers } from './conform.js';
import { temporaryFolder } from './folder.js';
import { storedNames } from './stores.js';

export { temporaryFolder } from './folder.js';

export interface RunningApp {
  readonly app: FastifyInstance;
  readonly url: string;
  readonly config: Config;
  /** What lies where the temp files are. */
  files(): Promise<string[]>;
}

/** The real application on a free port of the loopback interface. */
export async function startApp(
  t: Test,
  settings: Record<string, string> = {},
  folder?: string,
): Promise<RunningApp> {
  const config = loadConfig({
    DATA_DIR: folder ?? (await temporaryFolder(t)),
    LOG_LEVEL: 'silent',
    PORT: '0',
    ...settings,
  });
  const app = await buildApp({ config, log: createLog(config.logLevel) });
  t.teardown(() => app.close());
  const url = await app.listen({ host: config.host, port: 0 });
  watchAnswers(t, app, url);
  return { app, url, config, files: () => storedNames(config) };
}

export interface UploadAnswer {
  readonly status: number;
  readonly body: {
    success: boolean;
    file_id?: string;
    file_type?: string;
    original_name?: string;
    message?: string;
    code?: string;
  };
}

export async function upload(
  url: string,
  content: Uint8Array<ArrayBuffer>,
  name = 'file.bin',
  field = 'file',
  headers: Record<string, string> = {},
): Promise<UploadAnswer> {
  const form = new FormData();
  form.append(field, new Blob([content]), name);
  const response = await fetch(`${url}/api/tempfile/upload`, {
    method: 'POST',
    body: form,
    headers,
  });
  return { status: response.status, body: (await response.json()) as UploadAnswer['body'] };
}
