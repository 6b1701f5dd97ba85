import type { Config } from '../../src/config.js';
import { codeOf } from '../../src/errors.js';

type Level = 'ok' | 'warn' | 'fail';

/** What one check says; `fix` is what to do about it. */
export interface Report {
  ok(message: string): void;
  warn(message: string, fix: string): void;
  fail(message: string, fix: string): void;
}

/** It may throw, which is a failure; what it has not said within the deadline is not heard. */
export interface Check {
  readonly name: string;
  /** For a failure that the check did not expect. */
  readonly fix: string;
  run(config: Config, report: Report): Promise<void>;
}

/** Writes what checks find to standard output, a JSON line for each. */
export class Findings {
  constructor(readonly deadlineMs: number) {}

  report(name: string): Report & { close(): void } {
    let isOpen = true;
    const write = (level: Level, message: string, fix?: string) => {
      if (isOpen) console.log(JSON.stringify({ name, level, message, fix }));
    };
    return {
      ok: (message) => write('ok', message),
      warn: (message, fix) => write('warn', message, fix),
      fail: (message, fix) => write('fail', message, fix),
      close: () => (isOpen = false),
    };
  }

  async run(check: Check, config: Config): Promise<void> {
    const { name, fix } = check;
    console.log(JSON.stringify({ begins: name }));
    const report = this.report(name);
    const seconds = this.deadlineMs / 1000;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        report.fail(`no answer within ${seconds} s`, fix);
        resolve();
      }, this.deadlineMs);
    });
    const work = check.run(config, report).catch((error: unknown) => {
      const code = codeOf(error);
      const message = (error as Error).message;
      report.fail(code === 'INTERNAL' ? message : `${code}: ${message}`, fix);
    });
    await Promise.race([work, late]);
    clearTimeout(timer);
    report.close();
  }
}
