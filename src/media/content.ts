import { fileTypeFromBuffer } from 'file-type';

export type FileType = 'image' | 'audio' | 'video';

export interface Content {
  readonly type: FileType;
  readonly extension: string;
  readonly mime: string;
}

/** Where the bytes of a file are read from: an open file, or memory. */
export interface ByteSource {
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesRead: number }>;
}

/** How much of a file's beginning is looked at. */
export const headBytes = 64 * 1024;

const known: Record<string, Content> = {};
for (const [type, entries] of [
  ['image', 'png:image/png jpg:image/jpeg gif:image/gif webp:image/webp'],
  [
    'audio',
    'mp3:audio/mpeg wav:audio/wav ogg:audio/ogg opus:audio/ogg aac:audio/aac m4a:audio/mp4 flac:audio/flac',
  ],
  [
    'video',
    'mp4:video/mp4 avi:video/x-msvideo mov:video/quicktime wmv:video/x-ms-wmv flv:video/x-flv ' +
      'mpg:video/mpeg m4v:video/x-m4v webm:video/webm mkv:video/x-matroska',
  ],
] as const) {
  for (const entry of entries.split(' ')) {
    const [extension, mime] = entry.split(':') as [string, string];
    known[extension] = { type, extension, mime };
  }
}

const isoMedia = new Set(['mp4', 'mov', 'm4v', 'm4a']);
export const isIsoMedia = (content: Content): boolean => isoMedia.has(content.extension);

/** file-type's names for what we list under another one. */
const alias: Record<string, string> = {
  apng: 'png',
  oga: 'ogg',
  spx: 'ogg',
  m4b: 'm4a',
  f4a: 'm4a',
  f4v: 'mp4',
};

/** The GUID of a video stream in the header of a Windows Media file. */
const asfVideo = /\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b/;
const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

/** What a file is, by its first bytes; undefined when it is none of the types we take. */
export async function contentOf(head: Uint8Array): Promise<Content | undefined> {
  let found: { ext: string } | undefined;
  try {
    found = await fileTypeFromBuffer(head);
  } catch {
    return undefined;
  }
  if (found === undefined) return undefined;
  if (found.ext === 'asf') return asfVideo.test(latin1(head)) ? known['wmv'] : undefined;
  const content = known[alias[found.ext] ?? found.ext];
  if (content?.extension === 'webm' || content?.extension === 'mkv') {
    return matroskaContent(head, content);
  }
  return content;
}

/** The same for a file that is in memory as a whole. */
export async function contentOfBytes(data: Uint8Array): Promise<Content | undefined> {
  const content = await contentOf(data.subarray(0, headBytes));
  const read: ByteSource['read'] = async (buffer, offset, length, position) => {
    const piece = data.subarray(position, position + length);
    buffer.set(piece, offset);
    return { bytesRead: piece.length };
  };
  return content && refineContent(content, { read }, data.length);
}

/** MP4 and QuickTime files say what they hold in their track headers, which may stand at the end. */
export async function refineContent(
  content: Content,
  file: ByteSource,
  bytes: number,
): Promise<Content> {
  if (!isIsoMedia(content)) return content;
  const handlers = await isoHandlers(file, bytes);
  if (handlers.has('vide')) {
    return content.type === 'video' ? content : (known['mp4'] as Content);
  }
  return handlers.has('soun') ? (known['m4a'] as Content) : content;
}

/** Browsers record sound as WebM: the codec names in the track entries tell it from a film. */
function matroskaContent(head: Uint8Array, content: Content): Content {
  const codecId = 0x86;
  let sound = false;
  for (let i = 0; i + 3 < head.length; i++) {
    if (head[i] !== codecId || head[i + 3] !== 0x5f /* _ */) continue;
    if (head[i + 2] === 0x56 /* V */) return content;
    if (head[i + 2] === 0x41 /* A */) sound = true;
  }
  return sound ? { type: 'audio', extension: content.extension, mime: 'audio/webm' } : content;
}

interface Box {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

async function isoHandlers(file: ByteSource, bytes: number): Promise<Set<string>> {
  const handlers = new Set<string>();
  const budget = { boxes: 4096 };
  const inside = async (parents: Box[], type: string) => {
    const found: Box[] = [];
    for (const parent of parents) {
      for await (const box of boxes(file, parent, budget)) if (box.type === type) found.push(box);
    }
    return found;
  };
  let level: Box[] = [{ type: 'file', start: 0, end: bytes }];
  for (const type of ['moov', 'trak', 'mdia', 'hdlr']) level = await inside(level, type);
  for (const box of level) {
    const body = Buffer.alloc(12);
    const { bytesRead } = await file.read(body, 0, 12, box.start);
    if (bytesRead === 12) handlers.add(body.toString('latin1', 8, 12));
  }
  return handlers;
}

async function* boxes(
  file: ByteSource,
  parent: Box,
  budget: { boxes: number },
): AsyncGenerator<Box> {
  const header = Buffer.alloc(16);
  let at = parent.start;
  while (at + 8 <= parent.end && budget.boxes-- > 0) {
    const { bytesRead } = await file.read(header, 0, 16, at);
    if (bytesRead < 8) return;
    let size = header.readUInt32BE(0);
    let head = 8;
    if (size === 1) {
      if (bytesRead < 16) return;
      size = Number(header.readBigUInt64BE(8));
      head = 16;
    } else if (size === 0) {
      size = parent.end - at;
    }
    if (size < head) return;
    yield {
      type: header.toString('latin1', 4, 8),
      start: at + head,
      end: Math.min(at + size, parent.end),
    };
    at += size;
  }
}
