import { useState } from 'preact/hooks';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Field } from '../parts/field.js';
import { refresh, token } from './watch.js';

/** Asks for the operator's token. */
export function TokenForm() {
  const { operator } = t();
  const [text, setText] = useState('');
  return (
    <form
      class="panel stack operator-token"
      onSubmit={(event) => {
        event.preventDefault();
        token.value = text.trim();
        refresh();
      }}
    >
      <p>{operator.tokenWanted}</p>
      <Field
        label={operator.token}
        hint={operator.tokenHint}
        type="password"
        autoComplete="off"
        required
        value={text}
        problem={token.value === undefined ? undefined : operator.tokenWrong}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <div class="row">
        <Button look="main" type="submit">
          {operator.enter}
        </Button>
      </div>
    </form>
  );
}
