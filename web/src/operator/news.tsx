import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { type Failure, describe, failureOf } from '../failure.js';
import { Notice } from '../parts/notice.js';
import { refresh } from './watch.js';

/** How long it is said that something was done. */
const shownMs = 8000;

const done = signal('');
const problem = signal<Failure | undefined>();

/** Does what the operator asked for, says what came of it, and looks again. */
export async function act(work: () => Promise<unknown>, words: string): Promise<void> {
  problem.value = undefined;
  done.value = '';
  try {
    await work();
    done.value = words;
  } catch (error) {
    problem.value = failureOf(error);
  }
  refresh();
}

export function News() {
  const text = done.value;
  useEffect(() => {
    const timer = setTimeout(() => (done.value = ''), shownMs);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <>
      <p class={text === '' ? 'visually-hidden' : 'operator-news'} role="status">
        {text}
      </p>
      {problem.value && (
        <Notice onClose={() => (problem.value = undefined)}>{describe(problem.value)}</Notice>
      )}
    </>
  );
}
