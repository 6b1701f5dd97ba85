/** One line that is drawn over on a terminal; elsewhere one line per whole ten percent. */
export function progressBar(stream: NodeJS.WriteStream = process.stderr): {
  show(percent: number, message: string): void;
  end(): void;
} {
  const width = 30;
  let drawn = false;
  let lastTen = -1;
  return {
    show(percent, message) {
      const done = Math.round((percent / 100) * width);
      const line = `[${'#'.repeat(done)}${'-'.repeat(width - done)}] ${percent.toFixed(0).padStart(3)} %  ${message}`;
      if (stream.isTTY) {
        stream.write(`\r\x1b[K${line.slice(0, (stream.columns ?? 80) - 1)}`);
        drawn = true;
      } else if (Math.floor(percent / 10) > lastTen) {
        lastTen = Math.floor(percent / 10);
        stream.write(`${line}\n`);
      }
    },
    end() {
      if (drawn) stream.write('\n');
      drawn = false;
    },
  };
}
