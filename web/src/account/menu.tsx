import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { account, server } from '../server.js';
import { askLogin } from './login.js';

/** Who is logged in, and the way in or out. */
export function AccountMenu() {
  const { account: words } = t();
  const user = account.value;
  if (user === undefined) {
    return (
      <Button look="quiet" icon="person" onClick={() => void askLogin()}>
        {words.login}
      </Button>
    );
  }
  return (
    <div class="account">
      <span class="account-name" title={words.loggedInAs(user.display_name)}>
        {user.display_name}
      </span>
      <Button
        look="quiet"
        onClick={() => {
          account.value = undefined;
          // It is forgotten here even when the server cannot be told.
          void server.logout().catch(() => undefined);
        }}
      >
        {words.logout}
      </Button>
    </div>
  );
}
