// Reads tap's output, prints it when something failed and, last, one line: "N passed, N failed".
import { readFileSync } from 'node:fs';

const [file, status] = process.argv.slice(2);
const text = readFileSync(file, 'utf8');
const summary = text.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? '';
const count = (name) => Number(new RegExp(`${name}: (\\d+)`).exec(summary)?.[1] ?? 0);

const passed = count('pass');
const skipped = count('skip') + count('todo');
let failed = count('fail');
const ok = status === '0' && failed === 0 && passed > 0;
if (!ok) {
  console.log(text);
  failed ||= 1;
}
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = ok ? 0 : 1;
