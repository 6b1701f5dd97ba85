import t, { type Test } from 'tap';
import { startApp, upload } from '../helpers/app.js';
import { Client } from '../helpers/client.js';
import { type TestDatabase, onBoth } from '../helpers/database.js';
import { drawnPortrait } from '../helpers/media.js';
import { picture, tone } from '../helpers/samples.js';

interface RoleJson {
  readonly role_id: string;
  readonly name: string;
  readonly image_url: string | null;
  readonly consent: { readonly at: string } | null;
}
interface One {
  readonly role: RoleJson;
}
interface Many {
  readonly roles: RoleJson[];
  readonly total: number;
}

async function start(t: Test, database: TestDatabase) {
  const { url } = await startApp(t, { DATABASE_URL: database.url, LOGIN_ATTEMPTS: '100' });
  const uploaded = async (data: Uint8Array<ArrayBuffer>) =>
    String((await upload(url, data)).body.file_id);
  // The server calls itself by its configured port, which is not the test's.
  const here = (address: string | null) => String(address).replace(/^http:\/\/[^/]+/, url);
  return { url, uploaded, here, nobody: new Client(url) };
}

t.test('a role from making to deleting', async (t) => {
  await onBoth(t, async (t, database) => {
    const { url, uploaded, here, nobody } = await start(t, database);
    const owner = await Client.register(url, 'owner');
    const other = await Client.register(url, 'other');
    const account = await owner.get<{ user: { id: string } }>('/api/account');
    const by = account.body.user.id;
    const image_id = await uploaded(new Uint8Array(await drawnPortrait(200)));
    const fields = {
      name: 'Ada',
      personality: 'precise',
      gender: 'female',
      age: 36,
      language: 'en-gb',
      voice: 'slt',
      greeting: 'Good day.',
    };
    t.match(await nobody.post('/api/roles', fields), {
      status: 401,
      body: { success: false, code: 'UNAUTHORIZED' },
    });
    for (const consent of [{}, { consent: false }]) {
      t.match(await owner.post('/api/roles', { ...fields, image_id, ...consent }), {
        status: 400,
        body: { success: false, code: 'CONSENT_REQUIRED', message: /"consent": true/ },
      });
    }
    t.equal((await owner.get<Many>('/api/roles?mine=true')).body.total, 0, 'nothing was made');

    const made = await owner.post<One>('/api/roles', { ...fields, image_id, consent: true });
    const id = made.body.role.role_id;
    t.same(
      { ...made, headers: undefined },
      {
        status: 201,
        headers: undefined,
        body: {
          success: true,
          role: {
            ...fields,
            role_id: id,
            language: 'en-GB',
            is_public: false,
            is_bundled: false,
            is_mine: true,
            image_url: made.body.role.image_url,
            consent: made.body.role.consent,
            created_at: (made.body.role as unknown as { created_at: string }).created_at,
          },
        },
      },
    );
    const time = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;
    const statement = 'Whoever the picture shows agrees to be animated by this server.';
    const consent = { at: time, by, statement };
    t.match(made.body.role, { created_at: time, consent });
    t.same((await owner.get(`/api/roles/${id}`)).body, made.body);

    const refused = { status: 404, body: { success: false, code: 'ROLE_NOT_FOUND' } };
    for (const client of [other, nobody]) {
      t.match(await client.get(`/api/roles/${id}`), refused);
      const list = await client.get<Many>('/api/roles?q=ada');
      t.equal(list.body.total, 0);
    }
    t.match(await other.patch(`/api/roles/${id}`, { name: 'Eve' }), refused);
    t.match(await other.delete(`/api/roles/${id}`), refused);

    const changed = await owner.patch<One>(`/api/roles/${id}`, {
      name: 'Grace',
      age: null,
      is_public: true,
    });
    t.match(changed.body.role, {
      name: 'Grace',
      age: null,
      is_public: true,
      personality: 'precise',
    });
    t.equal(changed.body.role.image_url, made.body.role.image_url, 'the portrait stays');
    t.same(changed.body.role.consent, made.body.role.consent, 'and what was said of it');
    t.equal((await other.get<One>(`/api/roles/${id}`)).body.role.consent, null, 'to nobody else');
    const inOtherWords = await owner.patch<One>(`/api/roles/${id}`, {
      ...{ image_id, consent: true, consent_statement: 'She said yes.' },
    });
    t.match(inOtherWords.body.role.consent, { by, statement: 'She said yes.' });
    const without = await owner.patch<One>(`/api/roles/${id}`, { image_id: null });
    t.equal(without.body.role.consent, null, 'gone with the picture');
    for (const client of [other, nobody]) {
      t.match(await client.get(`/api/roles/${id}`), {
        status: 200,
        body: { role: { name: 'Grace', is_mine: false } },
      });
    }
    const forbidden = { status: 403, body: { success: false, code: 'FORBIDDEN' } };
    t.match(await other.patch(`/api/roles/${id}`, { name: 'Eve' }), forbidden);
    t.match(await other.delete(`/api/roles/${id}`), forbidden);
    t.match(await nobody.patch(`/api/roles/${id}`, { name: 'Eve' }), { status: 401 });
    t.match(await nobody.delete(`/api/roles/${id}`), { status: 401 });
    t.match(await owner.patch('/api/roles/clara', { name: 'Eve' }), forbidden);
    t.match(await owner.delete('/api/roles/clara'), forbidden);

    t.match(await owner.delete(`/api/roles/${id}`), { status: 200, body: { success: true } });
    t.match(await owner.get(`/api/roles/${id}`), refused);
    t.match(await owner.get(here(made.body.role.image_url)), { status: 404 });
  });
});

t.test('a portrait is shown without a token and kept by browsers', async (t) => {
  await onBoth(t, async (t, database) => {
    const { url, uploaded, here, nobody } = await start(t, database);
    const owner = await Client.register(url);
    const made = await owner.post<One>('/api/roles', {
      name: 'Ada',
      personality: '',
      image_id: await uploaded(await picture(100, 90)),
      consent: true,
    });
    const { role_id, image_url } = made.body.role;
    t.match(image_url, /^http:\/\/localhost:\d+\/api\/roles\/portraits\/[0-9a-f-]{36}$/);
    const shown = await nobody.get<Uint8Array>(here(image_url));
    t.equal(shown.status, 200);
    t.equal(shown.headers.get('content-type'), 'image/png');
    t.equal(shown.headers.get('x-content-type-options'), 'nosniff');
    t.equal(shown.headers.get('cache-control'), 'private, max-age=31536000, immutable');
    t.equal(shown.headers.get('content-length'), String(shown.body.length));
    t.same([...shown.body.slice(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
    const etag = String(shown.headers.get('etag'));
    for (const [known, status] of [
      [etag, 304],
      [`"x", W/${etag}`, 304],
      ['"x"', 200],
    ] as const) {
      const again = await nobody.get<Uint8Array>(here(image_url), { 'if-none-match': known });
      t.equal(again.status, status, known);
      t.equal(again.body.length > 0, status === 200);
    }

    const next = await owner.patch<One>(`/api/roles/${role_id}`, {
      image_id: await uploaded(await picture(80, 80)),
      consent: true,
    });
    t.not(next.body.role.image_url, image_url);
    t.match(await nobody.get(here(image_url)), { status: 404, body: { success: false } });
    const stale = await nobody.get(here(image_url), { 'if-none-match': etag });
    t.equal(stale.status, 404, 'the old one is gone for those too who know it');
    t.equal((await nobody.get(here(next.body.role.image_url))).status, 200);

    const without = await owner.patch<One>(`/api/roles/${role_id}`, { image_id: null });
    t.equal(without.body.role.image_url, null);
    t.equal((await nobody.get(here(next.body.role.image_url))).status, 404);
    for (const id of ['x', '..%2f..', '%00', "'--"]) {
      t.equal((await nobody.get(`/api/roles/portraits/${id}`)).status, 404, id);
    }
  });
});

t.test('what is no portrait makes no role', async (t) => {
  await onBoth(t, async (t, database) => {
    const { url, uploaded } = await start(t, database);
    const owner = await Client.register(url);
    const good = new Uint8Array(await drawnPortrait(128));
    const { role_id } = (
      await owner.post<One>('/api/roles', {
        name: 'Ada',
        personality: 'precise',
        image_id: await uploaded(good),
        consent: true,
      })
    ).body.role;
    const before = (await owner.get<One>(`/api/roles/${role_id}`)).body.role;
    for (const [image_id, status, code] of [
      [await uploaded(await picture(40, 40)), 422, 'IMAGE_TOO_SMALL'],
      [await uploaded(good.slice(0, 3000)), 422, 'IMAGE_UNREADABLE'],
      [await uploaded(tone(0.2)), 415, 'FILE_TYPE_UNSUPPORTED'],
      ['550e8400-e29b-41d4-a716-446655440000', 404, 'FILE_NOT_FOUND'],
      ['../../../etc/passwd', 404, 'FILE_NOT_FOUND'],
      [7, 400, 'BAD_REQUEST'],
      ['', 400, 'BAD_REQUEST'],
    ] as const) {
      const refusal = { status, body: { success: false, code, message: String } };
      const body = { name: 'Eve', personality: 'x', image_id, consent: true };
      t.match(await owner.post('/api/roles', body), refusal, code);
      t.match(await owner.patch(`/api/roles/${role_id}`, body), refusal, code);
    }
    t.same((await owner.get<One>(`/api/roles/${role_id}`)).body.role, before);
    t.equal((await owner.get<Many>('/api/roles?mine=true')).body.total, 1);
  });
});

t.test('search, paging and what a request may hold', async (t) => {
  await onBoth(t, async (t, database) => {
    const { url, nobody } = await start(t, database);
    const owner = await Client.register(url);
    for (let i = 0; i < 5; i++) {
      await owner.post('/api/roles', { name: `N${i}`, personality: 'likes tea', is_public: i > 0 });
    }
    const fresh = await nobody.get<Many>('/api/roles');
    t.match(fresh.body, { success: true, page: 1, page_size: 20, total: 6 });
    t.match(fresh.body.roles.slice(0, 2), [
      { is_bundled: true, is_mine: false, is_public: true },
      { is_bundled: true, is_mine: false, is_public: true },
    ]);
    for (const { image_url } of fresh.body.roles.slice(0, 2)) t.ok(image_url);
    t.equal((await owner.get<Many>('/api/roles')).body.total, 7);
    const page = await owner.get<Many>('/api/roles?q=TEA&page=2&page_size=3');
    t.match(page.body, { total: 5, page: 2, page_size: 3 });
    t.equal(page.body.roles.length, 2);
    t.match(await nobody.get('/api/roles?mine=true'), { status: 401 });
    t.match(await new Client(url, 'nonsense').get('/api/roles'), {
      status: 401,
      body: { code: 'TOKEN_INVALID' },
    });
    for (const query of [
      'page=0',
      'page_size=101',
      'page=x',
      'mine=maybe',
      `q=${'x'.repeat(201)}`,
    ]) {
      t.match(await owner.get(`/api/roles?${query}`), {
        status: 400,
        body: { code: 'BAD_REQUEST' },
      });
    }
    const role = { name: 'A', personality: 'b' };
    for (const wrong of [
      {},
      { name: 'A' },
      { ...role, name: '' },
      { ...role, name: ' ' },
      { ...role, name: 'x'.repeat(81) },
      { ...role, personality: 'x'.repeat(4001) },
      { ...role, age: -1 },
      { ...role, age: '36' },
      { ...role, language: 'English' },
      { ...role, voice: 'two words' },
      { ...role, owner_id: 'someone' },
      { ...role, consent: 'yes' },
      [role],
    ]) {
      const answer = {
        status: 400,
        body: { success: false, code: 'BAD_REQUEST', message: String },
      };
      t.match(await owner.post('/api/roles', wrong), answer, JSON.stringify(wrong).slice(0, 80));
    }
  });
});
