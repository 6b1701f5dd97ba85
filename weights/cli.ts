import { runCommand } from './commands.js';

// A terminal and npm may both pass an interrupt on, so that it arrives twice: the second is ignored.
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => stop.abort(new Error(`stopped by ${name}`)));
}

process.exitCode = await runCommand(process.argv.slice(2), {
  signal: stop.signal,
  print: (line) => console.log(line),
  complain: (line) => console.error(line),
});
