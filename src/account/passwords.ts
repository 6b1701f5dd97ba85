import { type ScryptOptions, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import pLimit from 'p-limit';
import { CodedError } from '../errors.js';
import { passwordLength } from './lengths.js';

interface Cost {
  /** log2 of the number of blocks */
  readonly ln: number;
  readonly r: number;
  readonly p: number;
}

/** 32 MiB and about a quarter of a second. */
const cost: Cost = { ln: 15, r: 8, p: 3 };
const maxMemory = 256 * 1024 * 1024;
const saltBytes = 16;
const keyBytes = 32;

/** `$scrypt$ln=15,r=8,p=3$salt$key`, so that the cost can rise without locking anybody out. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes);
  return format(cost, salt, await derive(password, salt, cost, keyBytes));
}

/** What an unknown user is compared with: the same work as for a known one, and never equal. */
const decoy = format(cost, randomBytes(saltBytes), randomBytes(keyBytes));

/** `outdated`: hashed at another cost than today's. Without a hash it works as long and says no. */
export async function verifyPassword(
  password: string,
  stored: string | undefined,
): Promise<{ matches: boolean; outdated: boolean }> {
  const { cost: was, salt, key } = parse(stored ?? decoy);
  const derived = await derive(password, salt, was, key.length);
  const matches = timingSafeEqual(derived, key) && stored !== undefined;
  return { matches, outdated: was.ln !== cost.ln || was.r !== cost.r || was.p !== cost.p };
}

/** The same password, however a keyboard composes its letters; BAD_REQUEST when it may not be one. */
export function checkPassword(password: string): string {
  const normal = normalise(password);
  const { min, max } = passwordLength;
  if (normal.length < min || normal.length > max) {
    throw new CodedError(
      'BAD_REQUEST',
      `a password has ${min} to ${max} characters; this one has ${normal.length}`,
    );
  }
  return normal;
}

function normalise(password: string): string {
  return password.normalize('NFKC');
}

function format({ ln, r, p }: Cost, salt: Buffer, key: Buffer): string {
  const text = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
  return `$scrypt$ln=${ln},r=${r},p=${p}$${text(salt)}$${text(key)}`;
}

function parse(stored: string): { cost: Cost; salt: Buffer; key: Buffer } {
  const match =
    /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{16,})\$([A-Za-z0-9+/]{16,})$/.exec(
      stored,
    );
  const [, ln, r, p, salt = '', key = ''] = match ?? [];
  const was = { ln: Number(ln), r: Number(r), p: Number(p) };
  if (match === null || 128 * 2 ** was.ln * was.r > maxMemory) {
    throw new CodedError('INTERNAL', 'a stored password hash cannot be read');
  }
  return { cost: was, salt: Buffer.from(salt, 'base64'), key: Buffer.from(key, 'base64') };
}

/** Two at a time: they fill the threads that file and name look-ups need too. */
const inTurn = pLimit(2);
const scryptKey = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);

function derive(password: string, salt: Buffer, c: Cost, bytes: number): Promise<Buffer> {
  const options = { N: 2 ** c.ln, r: c.r, p: c.p, maxmem: 2 * maxMemory };
  return inTurn(() => scryptKey(normalise(password), salt, bytes, options));
}
