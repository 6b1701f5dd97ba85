import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../../src/paths.js';

export interface Block {
  /** What stands after the fence: `sh`, `env`, `json`... */
  readonly language: string;
  readonly text: string;
  /** Of its first line, from 1. */
  readonly line: number;
}

export interface Page {
  /** Relative to the project. */
  readonly file: string;
  readonly blocks: readonly Block[];
  /** The lines outside code blocks; those inside are empty. */
  readonly prose: readonly string[];
}

/** Every Markdown page of the project. */
export function pages(): Page[] {
  const listed = ['ls-files', '-co', '--exclude-standard', '*.md'];
  const files = execFileSync('git', listed, { cwd: projectRoot, encoding: 'utf8' });
  return files.split('\n').filter(Boolean).map(readPage);
}

function readPage(file: string): Page {
  const blocks: Block[] = [];
  const prose: string[] = [];
  let open: { indent: number; language: string; line: number; lines: string[] } | undefined;
  for (const [index, line] of readFileSync(join(projectRoot, file), 'utf8').split('\n').entries()) {
    const fence = /^( *)```(\w*)/.exec(line);
    prose.push(open !== undefined || fence !== null ? '' : line);
    if (fence === null) open?.lines.push(line.slice(open.indent));
    else if (open === undefined) {
      open = { indent: fence[1]!.length, language: fence[2]!, line: index + 2, lines: [] };
    } else {
      const { language, line, lines } = open;
      blocks.push({ language, line, text: lines.join('\n') });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`${file}:${open.line}: the code block does not end`);
  return { file, blocks, prose };
}

/** The names under which a page's headings can be linked to, as GitHub makes them. */
export function anchors({ prose }: Page): Set<string> {
  const names = new Set<string>();
  for (const line of prose) {
    const heading = /^#{1,6} +(.*)$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const name = text.replace(/[^\p{L}\p{N}\p{M} _-]/gu, '').replaceAll(' ', '-');
    let unique = name;
    for (let count = 1; names.has(unique); count++) unique = `${name}-${count}`;
    names.add(unique);
  }
  return names;
}
