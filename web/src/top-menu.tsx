import { AccountMenu } from './account/menu.js';
import { t } from './i18n/index.js';
import { isNarrow } from './narrow.js';
import { Icon } from './parts/icon.js';
import { Preferences } from './preferences.js';

/** Login, language and colours: beside the pages, or behind a button where there is no room. */
export function TopMenu() {
  const parts = (
    <>
      <AccountMenu />
      <Preferences />
    </>
  );
  if (!isNarrow.value) return <div class="top-end">{parts}</div>;
  return (
    <div class="top-end">
      <button type="button" class="button button-quiet button-icon" popovertarget="top-menu">
        <Icon name="menu" />
        <span class="visually-hidden">{t().common.menu}</span>
      </button>
      <div id="top-menu" class="top-menu" popover="auto">
        {parts}
      </div>
    </div>
  );
}
