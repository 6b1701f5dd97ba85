import { scryptSync } from 'node:crypto';
import t from 'tap';
import { checkPassword, hashPassword, verifyPassword } from '../../src/account/passwords.js';

void t.test('a password is kept as its scrypt hash, with salt and cost', async (t) => {
  const hash = await hashPassword('correct horse');
  t.match(hash, /^\$scrypt\$ln=15,r=8,p=3\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  t.not(await hashPassword('correct horse'), hash, 'each has a salt of its own');
  t.same(await verifyPassword('correct horse', hash), { matches: true, outdated: false });
  t.same(await verifyPassword('correct hors', hash), { matches: false, outdated: false });

  const [, , , salt = '', key = ''] = hash.split('$');
  const derived = scryptSync('correct horse', Buffer.from(salt, 'base64'), 32, {
    N: 2 ** 15,
    r: 8,
    p: 3,
    maxmem: 2 ** 28,
  });
  t.equal(derived.toString('base64').replace(/=$/, ''), key);
});

void t.test('a hash of another cost still counts, and is known to be old', async (t) => {
  const salt = Buffer.alloc(16, 7);
  const key = scryptSync('an old password', salt, 32, { N: 2 ** 14, r: 8, p: 1 });
  const text = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
  const old = `$scrypt$ln=14,r=8,p=1$${text(salt)}$${text(key)}`;
  t.same(await verifyPassword('an old password', old), { matches: true, outdated: true });
  t.match(await verifyPassword('a new password', old), { matches: false });
});

void t.test('an unknown user costs as much work as a known one', async (t) => {
  const hash = await hashPassword('something long');
  const time = async (stored: string | undefined) => {
    const start = process.cpuUsage();
    await verifyPassword('not that', stored);
    const { user, system } = process.cpuUsage(start);
    return user + system;
  };
  const known = Math.min(await time(hash), await time(hash), await time(hash));
  const unknown = Math.min(await time(undefined), await time(undefined), await time(undefined));
  t.ok(unknown > known / 2 && unknown < known * 2, `${known} and ${unknown} microseconds`);
  t.match(await verifyPassword('', undefined), { matches: false });
});

void t.test('however letters are composed, it is the same password', async (t) => {
  const hash = await hashPassword(checkPassword('pässwörter'));
  t.match(await verifyPassword('pa\u0308sswo\u0308rter', hash), { matches: true });
});

void t.test('too short, too long and unreadable ones are refused', async (t) => {
  t.equal(checkPassword('12345678'), '12345678');
  t.equal(checkPassword('x'.repeat(256)).length, 256);
  t.throws(() => checkPassword('1234567'), {
    code: 'BAD_REQUEST',
    message: 'a password has 8 to 256 characters; this one has 7',
  });
  t.throws(() => checkPassword('x'.repeat(257)), { code: 'BAD_REQUEST' });
  await t.rejects(verifyPassword('x', 'plain'), { code: 'INTERNAL' });
  await t.rejects(
    verifyPassword('x', `$scrypt$ln=30,r=8,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}`),
    { code: 'INTERNAL' },
    'a hash that would need a gigabyte',
  );
});
