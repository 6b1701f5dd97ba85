import t from 'tap';
import { type State, grown, soak } from '../../bench/soak/soak.js';

t.test('nothing grows in a short soak', async (t) => {
  const { rounds, restarts, kills, grown } = await soak({ seconds: 2, sessions: 5 });
  t.ok(rounds > 0);
  t.equal(restarts, 1);
  t.equal(kills, 1);
  t.same(grown, []);
});

t.test('what grew is named', async (t) => {
  const before: State = { resident: 2e8, handles: 40, files: 0, keys: { 'task:*': 1, turn: 1 } };
  const after: State = { resident: 4e8, handles: 60, files: 1, keys: { 'task:*': 2, other: 1 } };
  t.match(grown(before, after), [
    /^resident memory/,
    /^open handles: 40 before, 60/,
    /^temp files/,
    /^Redis keys task:\*: 1 before, 2 after/,
    /^Redis keys other: 0/,
  ]);
  t.same(grown(before, before), []);
});
