import type { CodedError } from '../../src/errors.js';
import { PositionedFile } from './file.js';
import { openSafetensors } from './safetensors.js';
import { openTorch } from './torch.js';
import type { Checkpoint } from './types.js';

/** What a file that is no checkpoint seems to be instead, by its first bytes. */
function notACheckpoint(file: PositionedFile, head: Uint8Array): CodedError {
  const text = Buffer.from(head).toString('latin1');
  if (head.length === 0) return file.fail('the file is empty');
  if (text.startsWith('version https://git-lfs')) {
    return file.fail('a Git LFS pointer, not the weights: fetch the file itself (git lfs pull)');
  }
  if (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) {
    return file.fail(
      'a legacy PyTorch pickle (before PyTorch 1.6), which is not read: load it in PyTorch and torch.save it again',
    );
  }
  if (/^\s*<(!doctype|html|\?xml)/i.test(text)) {
    return file.fail('a web page, not a checkpoint: the download went wrong');
  }
  return file.fail(
    `wrong magic ${Buffer.from(head.subarray(0, 4)).toString('hex')}: neither a PyTorch zip archive nor safetensors`,
  );
}

/** Opens a PyTorch zip archive or a safetensors file, told apart by content. */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const file = await PositionedFile.open(path);
  try {
    const head = await file.bytes(0, Math.min(64, file.size), 'the first bytes');
    const [a, b, c, d] = head;
    if (a === 0x50 && b === 0x4b && ((c === 3 && d === 4) || (c === 5 && d === 6))) {
      return await openTorch(file);
    }
    // safetensors: a 64-bit header length, then the JSON header itself
    if (head.length >= 9 && head[8] === 0x7b && head[6] === 0 && head[7] === 0) {
      return await openSafetensors(file);
    }
    throw notACheckpoint(file, head);
  } catch (error) {
    await file.close();
    throw error;
  }
}
