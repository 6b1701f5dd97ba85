import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TSchema } from 'typebox';
import { CodedError } from '../src/errors.js';
import { projectRoot } from '../src/paths.js';
import { withoutMarks } from '../src/config/problems.js';
import { settingGroups } from '../src/config/settings.js';

/** What is said of a setting in its schema, as far as it concerns its reader. */
interface Facts {
  readonly description?: string;
  readonly default?: string | number;
  readonly unset?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
}

/** Texts that follow from the settings, by the path of their file. */
export function configFiles(): ReadonlyMap<string, string> {
  const reference = join(projectRoot, 'docs', 'configuration.md');
  return new Map([
    [reference, withTables(readFileSync(reference, 'utf8'))],
    [join(projectRoot, '.env.example'), environmentExample()],
  ]);
}

/** The files that do not say what the settings say; written anew if wanted. */
export function staleConfigFiles(write: boolean): string[] {
  return [...configFiles()].flatMap(([path, text]) => {
    if (text === textOf(path)) return [];
    if (write) writeFileSync(path, text);
    return [path];
  });
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Puts each group's table between `<!-- settings: GROUP -->` and `<!-- end -->`. */
function withTables(text: string): string {
  let result = text;
  for (const [group, members] of Object.entries(settingGroups)) {
    const start = `<!-- settings: ${group} -->\n`;
    const from = result.indexOf(start);
    const to = result.indexOf('<!-- end -->', from);
    if (from === -1 || to === -1) {
      throw new CodedError(
        'CONFIG_INVALID',
        `docs/configuration.md has no "${start.trim()}" with "<!-- end -->" after it`,
      );
    }
    result = `${result.slice(0, from + start.length)}\n${table(members)}\n${result.slice(to)}`;
  }
  return result;
}

function table(members: Readonly<Record<string, TSchema>>): string {
  const rows = Object.entries(members).map(([name, facts]: [string, Facts]) => {
    const usual =
      facts.default === undefined ? (facts.unset ?? 'none') : `\`${facts.default.toString()}\``;
    return `| \`${name}\` | ${usual} | ${values(facts)} | ${facts.description ?? ''} |\n`;
  });
  return `| setting | default | values | meaning |\n|---|---|---|---|\n${rows.join('')}`;
}

function values(facts: Facts): string {
  if (facts.enum) return facts.enum.map((value) => `\`${value}\``).join(', ');
  if (facts.exclusiveMinimum !== undefined) {
    return `above ${facts.exclusiveMinimum}, to ${facts.maximum}`;
  }
  return facts.minimum === undefined ? '' : `${facts.minimum} to ${facts.maximum}`;
}

const heading = `# Settings of EchoMimic Server. Copy this file to .env and take the # away from what you change:
# what stands there is the default. Values with spaces or # need quotes. What each setting means,
# and which values it takes, is in docs/configuration.md.
`;

function environmentExample(): string {
  const groups = Object.entries(settingGroups).map(([group, members]) => {
    // The file cannot name itself.
    const entries = Object.entries(members).filter(([name]) => name !== 'ENV_FILE');
    const lines = entries.map(([name, facts]: [string, Facts]) => {
      const unset = facts.unset === undefined ? '' : ` (default: ${facts.unset})`;
      const value = facts.default?.toString() ?? '';
      return `# ${withoutMarks(`${facts.description}${unset}`)}\n#${name}=${value}\n`;
    });
    return `\n## ${group}\n\n${lines.join('')}`;
  });
  return heading + groups.join('');
}
