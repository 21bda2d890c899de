/* Exits does nothing: what the rows of fork+exec+wait execute, once linked
 * statically and once dynamically. */
int main(void)
{
	return 0;
}
