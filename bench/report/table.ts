const nothing = '-';

/**
 * Lines of text with aligned columns; the first column to the left, numbers to the right. Columns
 * that say nothing in any row are left out.
 */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const kept = header.flatMap((_, i) =>
    rows.length > 0 && rows.every((row) => row[i] === nothing) ? [] : [i],
  );
  const lines = [header, ...rows].map((line) => kept.map((i) => line[i] ?? ''));
  const widths = kept.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Three significant digits, without an exponent. */
export function short(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

export const orDash = (value: number | null | undefined, show = short): string =>
  value === null || value === undefined ? nothing : show(value);

export const percent = (share: number) => `${short(100 * share)} %`;
