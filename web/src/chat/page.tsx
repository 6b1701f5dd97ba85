import { t } from '../i18n/index.js';
import { Page } from '../parts/page.js';

export function Conversation() {
  return <Page title={t().chat.title}>{null}</Page>;
}
