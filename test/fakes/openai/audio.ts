/** Requests of the audio routes and their rules. */

export interface Transcription {
  readonly model: string;
  readonly language: string | undefined;
  readonly file: Uint8Array;
  readonly fileName: string;
  readonly mime: string;
}

export interface SpeechRequest {
  readonly model: string;
  readonly voice: string;
  readonly input: string;
  readonly response_format?: string;
  readonly speed?: number;
}

/** At once, or in parts. */
export type Sound = { readonly type: string } & (
  | { readonly data: Uint8Array }
  | { readonly parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array> }
);

const formFields = new Set(['file', 'model', 'language', 'response_format']);
const speechFields = new Set(['model', 'voice', 'input', 'response_format', 'speed']);

export async function transcriptionOf(
  type: string | undefined,
  raw: Buffer,
): Promise<{ request?: Transcription; problems: string[] }> {
  if (type?.startsWith('multipart/form-data; boundary=') !== true) {
    return { problems: [`the content type is ${type}`] };
  }
  const body = new Response(new Uint8Array(raw), { headers: { 'content-type': type } });
  const form = await body.formData().catch(() => undefined);
  if (form === undefined) return { problems: ['the form cannot be read'] };
  const problems: string[] = [];
  const entries: [string, unknown][] = [];
  form.forEach((value, key) => entries.push([key, value]));
  for (const [key] of entries) if (!formFields.has(key)) problems.push(`unknown field ${key}`);
  const fields = new Map(entries);
  const file = fields.get('file');
  const model = fields.get('model');
  const language = fields.get('language');
  if (!(file instanceof File)) return { problems: [...problems, 'no file'] };
  if (file.size === 0) problems.push('the file is empty');
  if (!/^[\w-]+\.[a-z0-9]+$/.test(file.name)) problems.push(`the file is named ${file.name}`);
  if (typeof model !== 'string' || model === '') problems.push('no model');
  if (language !== undefined && !/^[a-z]{2,3}$/.test(language as string)) {
    problems.push(`the language is ${language as string}, not an ISO 639 code`);
  }
  const request = {
    model: model as string,
    language: language as string | undefined,
    file: new Uint8Array(await file.arrayBuffer()),
    fileName: file.name,
    mime: file.type,
  };
  return { request, problems };
}

export function speechProblems(body: unknown): string[] {
  if (typeof body !== 'object' || body === null) return ['the body is no object'];
  const { model, voice, input, response_format: format, speed } = body as Record<string, unknown>;
  const problems = Object.keys(body)
    .filter((key) => !speechFields.has(key))
    .map((key) => `unknown parameter ${key}`);
  if (typeof model !== 'string' || model === '') problems.push('no model');
  if (typeof voice !== 'string' || voice === '') problems.push('no voice');
  if (typeof input !== 'string' || input.trim() === '') problems.push('no input');
  else if (input.length > 4096) problems.push('the input is longer than 4096 characters');
  if (format !== 'wav') problems.push(`response_format is ${String(format)}`);
  if (speed !== undefined && !(typeof speed === 'number' && speed >= 0.25 && speed <= 4)) {
    problems.push(`speed is ${JSON.stringify(speed)}`);
  }
  return problems;
}
