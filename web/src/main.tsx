import { render } from 'preact';
import { App } from './app.js';
import { comeBack } from './chat/memory.js';
import { followLanguage } from './i18n/index.js';
import './styles/index.css';
import { followTheme } from './theme.js';

followLanguage();
followTheme();
comeBack();
const root = document.getElementById('app');
if (root !== null) render(<App />, root);
