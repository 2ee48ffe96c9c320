"""What writing a prompt needs: drafts, differences, estimates."""
