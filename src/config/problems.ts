import type { TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { type Settings, openAiUrl, secretSettings, settings } from './settings.js';

/** A sentence for each setting that is wrong, secrets without their value. */
export function describeProblems(raw: unknown): string[] {
  const problems = new Map<string, string>();
  for (const error of Value.Errors(settings, raw)) {
    const key = error.instancePath.slice(1);
    if (problems.has(key)) continue;
    const secret = secretSettings.has(key);
    const value = (raw as Record<string, unknown>)[key];
    const what = expectation(key, error.message);
    problems.set(key, secret ? `${key} ${what}` : `${key}=${JSON.stringify(value)} ${what}`);
  }
  const devices = String((raw as Record<string, unknown>)['WORKER_DEVICES']);
  const gpus = devices.split(',').filter((device) => device.startsWith('cuda:'));
  if (!problems.has('WORKER_DEVICES') && new Set(gpus).size !== gpus.length) {
    problems.set('WORKER_DEVICES', `WORKER_DEVICES="${devices}" names a GPU twice`);
  }
  for (const [key, needs] of neededTogether(raw as Partial<Settings>)) {
    if (!problems.has(needs)) problems.set(needs, `${key} needs ${needs}, which is not set`);
  }
  return [...problems.values()];
}

/** The schema's own words name no choices, and of a form only its pattern. */
function expectation(key: string, message: string): string {
  const schema: TSchema = settings.properties[key as keyof Settings];
  const {
    enum: choices,
    pattern,
    description,
  } = schema as TSchema & {
    readonly enum?: readonly string[];
    readonly pattern?: string;
    readonly description: string;
  };
  if (choices !== undefined) return `must be one of ${choices.join(', ')}`;
  return pattern === undefined ? message : `${message} (${withoutMarks(description)})`;
}

/** A setting's description without its Markdown. */
export function withoutMarks(text: string): string {
  return text.replace(/\[([^\]]*)\]\([^)]*\)/g, 'docs/$1').replaceAll('`', '');
}

/** Choices that mean nothing without another setting. */
function neededTogether(raw: Partial<Settings>): [choice: string, needs: keyof Settings][] {
  const needs: [choice: string, needs: keyof Settings][] = [];
  for (const choice of ['ASR', 'TTS', 'DIALOGUE'] as const) {
    if (raw[choice] === 'dashscope') needs.push([`${choice}=dashscope`, 'DASHSCOPE_API_KEY']);
    if (raw[choice] === 'openai' && raw.OPENAI_BASE_URL === openAiUrl)
      needs.push([`${choice}=openai`, 'OPENAI_API_KEY']);
    if (raw[choice] === 'openai' && choice === 'DIALOGUE')
      needs.push(['DIALOGUE=openai', 'DIALOGUE_MODEL']);
  }
  if (raw.S3_ACCESS_KEY_ID !== undefined) needs.push(['S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY']);
  if (raw.S3_SECRET_ACCESS_KEY !== undefined)
    needs.push(['S3_SECRET_ACCESS_KEY', 'S3_ACCESS_KEY_ID']);
  if (raw.ASR === 'command') needs.push(['ASR=command', 'ASR_COMMAND']);
  if (raw.TTS === 'command') needs.push(['TTS=command', 'TTS_COMMAND']);
  return needs.filter(([, key]) => raw[key] === undefined);
}
