import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { type Failure, describe, failureOf } from '../failure.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Dialog } from '../parts/dialog.js';
import { Field, Segments } from '../parts/field.js';
import { Notice } from '../parts/notice.js';
import { account, info, server } from '../server.js';

/** Failures that a login may mend. */
export const isLoginFailure = ({ code }: Failure): boolean =>
  ['UNAUTHORIZED', 'TOKEN_INVALID', 'TOKEN_EXPIRED'].includes(code);

/** What waits for a login, with why it is needed; undefined while nothing does. */
const wanted = signal<{ why: string | undefined; done: (isIn: boolean) => void } | undefined>();

/** Opens the window to log in; resolves with whether somebody did. */
export function askLogin(why?: string): Promise<boolean> {
  wanted.peek()?.done(false);
  return new Promise((resolve) => {
    wanted.value = {
      why,
      done: (isIn) => {
        wanted.value = undefined;
        resolve(isIn);
      },
    };
  });
}

/** The window to log in or to make an account, when something asks for it. */
export function LoginWindow() {
  const asked = wanted.value;
  return asked === undefined ? null : <Login why={asked.why} onDone={asked.done} />;
}

function Login({ why, onDone }: { why: string | undefined; onDone: (isIn: boolean) => void }) {
  const { account: words } = t();
  const [isNew, setNew] = useState(false);
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  const submit = async () => {
    setBusy(true);
    setFailure(undefined);
    try {
      const credentials = { username, password };
      account.value = await (isNew ? server.register(credentials) : server.login(credentials));
      onDone(true);
    } catch (error) {
      setFailure(failureOf(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={isNew ? words.register : words.login} onClose={() => onDone(false)}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        {why && <p class="quiet">{why}</p>}
        {info.value?.registration !== 'closed' && (
          <Segments
            label={words.which}
            isLabelHidden
            value={isNew ? 'new' : 'old'}
            options={[
              { value: 'old', label: words.login },
              { value: 'new', label: words.register },
            ]}
            onChoose={(value) => {
              setNew(value === 'new');
              setFailure(undefined);
            }}
          />
        )}
        <Field
          label={words.name}
          name="username"
          autoComplete="username"
          autoCapitalize="none"
          required
          {...(isNew ? { hint: words.nameHint, minLength: 3 } : {})}
          value={username}
          onInput={(event) => setUsername(event.currentTarget.value)}
        />
        <Field
          label={words.password}
          name="password"
          type="password"
          autoComplete={isNew ? 'new-password' : 'current-password'}
          required
          {...(isNew ? { hint: words.passwordHint, minLength: 8 } : {})}
          value={password}
          onInput={(event) => setPassword(event.currentTarget.value)}
        />
        {failure && <Notice>{describe(failure)}</Notice>}
        <div class="row row-end">
          <Button look="main" type="submit" disabled={isBusy}>
            {isNew ? words.register : words.login}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
